// One task instance: its files, and what made them.
import {
  address, ask, clock, copyButton, count, described, downloadLink, duration, icon, make, moment, note, player, repeat,
  size,
} from "./common.js";

const BASE = location.pathname.replace(/\/$/, "");
const EVERY = 2500; // milliseconds
const stage = document.getElementById("stage");
const panel = document.getElementById("panel");
const page = document.getElementById("page");
let facts = null;
let chosen = 0;
let drawn = { stage: null, panel: null };

repeat(async () => {
  const before = facts;
  facts = await ask(`${BASE}/facts`);
  draw();
  if (before && before.stage !== facts.stage) announce();
  return facts.live;
}, EVERY);
setInterval(tick, 1000);

function draw() {
  page.removeAttribute("aria-busy");
  const { files, job, trouble, line } = facts;
  page.classList.toggle("alone", !job && !trouble);
  const shown = JSON.stringify([files, trouble, line, facts.stage, files.length ? null : job]);
  if (shown !== drawn.stage) {
    drawn.stage = shown;
    chosen = Math.min(chosen, Math.max(files.length - 1, 0));
    drawStage();
  }
  const told = JSON.stringify([job, trouble, facts.stage]);
  if (told !== drawn.panel) {
    drawn.panel = told;
    drawPanel();
  }
  tick();
}

function announce() {
  const said = { done: `Done: ${count(facts.files.length, "file")}.`, failed: "The task failed." }[facts.stage];
  if (said) document.getElementById("news").textContent = said;
}

// The stage

function drawStage() {
  const { files, job, trouble, line } = facts;
  if (files.length) {
    stage.replaceChildren(...[trouble ? alertBox(trouble) : null, show(), strip()].filter(Boolean));
  } else if (trouble) {
    stage.replaceChildren(alertBox(trouble));
  } else if (line) {
    stage.replaceChildren(make("div", { class: job ? "frame" : "line" }, job ? note(line, job.kind) : line));
  } else {
    stage.replaceChildren(underway());
  }
}

function show() {
  const file = facts.files[chosen];
  const measures = make("span", { class: "measures" });
  const frame = player(BASE, file, facts.job?.prompt, { loaded: (text) => { measures.textContent = text; } });
  return make(
    "figure", { class: "shown" }, frame,
    make(
      "figcaption", { class: "caption" },
      make("span", { class: "filename", title: file.name }, file.name),
      make("span", { class: "muted" }, size(file.size) ?? ""), measures,
      make("span", { class: "actions" }, file.problem ? null : downloadLink(BASE, file), copyButton(file.uri, "Copy URI")),
    ),
  );
}

function strip() {
  const { files, job } = facts;
  if (files.length < 2) return null;
  const list = make("div", { class: "strip", role: "group", "aria-label": "The files of this task" });
  files.forEach((file, at) => {
    const thumb = file.kind === "image" && !file.problem
      ? make("img", { src: address(BASE, file), alt: "", loading: "lazy", decoding: "async" })
      : icon(file.kind);
    const label = `${at + 1} of ${files.length}, ${described(file.kind, job?.prompt, file.name)}`;
    list.append(make(
      "button",
      { type: "button", class: "thumb", "aria-label": label, "aria-current": at === chosen ? "true" : null, click: () => choose(at) },
      thumb, make("span", { class: "number" }, String(at + 1)),
    ));
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) choose((chosen + step + files.length) % files.length);
  });
  return list;
}

function choose(at) {
  chosen = at;
  stage.querySelector(".shown").replaceWith(show());
  stage.querySelectorAll(".thumb").forEach((thumb, index) => {
    if (index === at) {
      thumb.setAttribute("aria-current", "true");
      thumb.focus();
    } else {
      thumb.removeAttribute("aria-current");
    }
  });
}

function underway() {
  const { job } = facts;
  const words = job?.submitted_at
    ? [make("p", { class: "doing" }, `${job.title}: ${job.status ?? "submitted"}`),
      make("p", { class: "muted", "data-age": job.submitted_at }),
      make("div", { class: "track" }, make("div", { class: "done" })),
      make("p", { class: "muted", "data-expected": "" })]
    : [make("p", { class: "doing" }, "Getting ready"), make("p", { class: "muted" }, "No job was ordered yet.")];
  return make("div", { class: "frame underway" }, make("div", { class: "sheen" }), make("div", { class: "words" }, ...words));
}

function alertBox({ sentence, money, next }) {
  const rows = [["Money", money], ["Next", next]].filter(([, text]) => text);
  return make(
    "div", { class: "alert", role: "group", "aria-label": "What went wrong" },
    make("p", { class: "sentence" }, icon("failed"), make("span", {}, sentence)),
    rows.length ? make("dl", {}, ...rows.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])) : null,
  );
}

// The panel

function drawPanel() {
  const { job, trouble } = facts;
  panel.replaceChildren();
  if (!job) return;
  const badge = make("span", { class: `badge ${facts.stage}` }, icon(facts.stage), stateWord());
  panel.append(make("div", { class: "title" }, make("h1", {}, job.title), badge));
  if (job.prompt) panel.append(make("blockquote", { class: "prompt" }, job.prompt));
  const rows = [
    ["Model", job.model],
    ["Credits", job.credits === null ? null : Number(job.credits).toLocaleString()],
    ["Ordered", job.submitted_at && make("time", { datetime: iso(job.submitted_at) }, moment(job.submitted_at))],
    ["Took", job.submitted_at && job.ended_at && !trouble ? duration(job.ended_at - job.submitted_at) : null],
    ["Looks", job.looks || null],
    ["Tool", make("code", {}, job.tool)],
    ["Job", job.id && make("span", { class: "copied" }, make("code", {}, job.id), copyButton(job.id, "Copy job id", { bare: true }))],
    ["Name", job.name],
    ["Library", job.library_url
      && make("span", { class: "copied" }, make("code", {}, job.library_url), copyButton(job.library_url, "Copy link", { bare: true }))],
  ].filter(([, value]) => value !== null && value !== undefined);
  panel.append(make("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
  const request = job.fields.filter(({ value }) => value !== job.prompt);
  if (request.length) {
    panel.append(make(
      "details", { class: "request", open: true }, make("summary", {}, "Request"),
      make("dl", { class: "facts" }, ...request.flatMap(({ name, value }) => [
        make("dt", {}, make("code", {}, name)),
        make("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
      ])),
    ));
  }
}

function stateWord() {
  if (facts.stage === "working") return facts.job.status ?? "working";
  if (facts.stage === "done") return facts.job.status ?? "done";
  return facts.state === "up_for_retry" ? "tries again" : facts.stage;
}

function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

// Time passes between two looks at the server, too.
function tick() {
  if (!facts?.live) return;
  const now = Date.now() / 1000 + facts.ahead;
  const age = stage.querySelector("[data-age]");
  if (!age) return;
  const { submitted_at: start, expected_at: end } = facts.job;
  age.textContent = `For ${duration(now - start)}`;
  const expected = stage.querySelector("[data-expected]");
  const late = end && now > end;
  expected.textContent = !end ? "" : late
    ? `Usually this takes ${duration(end - start)}. It is late, and nothing is lost by that.`
    : `Expected at ${clock(end)}, in ${duration(end - now)}`;
  const done = stage.querySelector(".track .done");
  done.style.width = end && !late ? `${Math.round((100 * (now - start)) / (end - start))}%` : "100%";
  done.classList.toggle("late", !end || late);
}
