// One task instance: its files, and the job that made them.
import {
  address, clock, copyButton, count, describeFile, downloadLink, duration, fetchDetails, icon, make, moment, note, player,
  poll, size,
} from "./common.js";
import { batchRows, progressBox } from "./batch.js";
import { ItemSheet } from "./items.js";
import { Recovery } from "./recovery.js";

const BASE = location.pathname.replace(/\/$/, "");
const INTERVAL = 2500; // milliseconds
const media = document.getElementById("media");
const panel = document.getElementById("panel");
const page = document.getElementById("page");
let details = null;
let chosen = 0;
let drawn = { media: null, panel: null };
let turn = 0; // counts the times that polling began: it ends with the task
const recovery = new Recovery(document.getElementById("recovery"), `${BASE}/recovery`, watch);

const items = new ItemSheet(document.getElementById("items"), document.getElementById("lightbox"), BASE, watch);

watch();
setInterval(tick, 1000);

function watch() {
  const mine = ++turn;
  return poll(async () => {
    if (mine !== turn) return false;
    const before = details;
    details = await fetchDetails(`${BASE}/details`);
    draw();
    if (details.batch) items.follow(details.live);
    if (before && before.stage !== details.stage) announceStage();
    const waits = details.live && details.state !== "up_for_retry"; // a retry may be long in coming
    if (waits) recovery.withdraw();
    else if (!details.live || !recovery.isOffered) await recovery.offer();
    return details.live;
  }, INTERVAL);
}

function draw() {
  page.removeAttribute("aria-busy");
  const { files, job, batch, error, empty_reason: emptyReason } = details;
  page.classList.toggle("alone", !job && !batch && !error);
  const shown = JSON.stringify([files, error, emptyReason, details.stage, batch, files.length ? null : job]);
  if (shown !== drawn.media) {
    drawn.media = shown;
    chosen = Math.min(chosen, Math.max(files.length - 1, 0));
    drawMedia();
  }
  const data = JSON.stringify([job, batch, error, details.stage]);
  if (data !== drawn.panel) {
    drawn.panel = data;
    drawPanel();
  }
  tick();
}

function announceStage() {
  const made = details.batch ? count(details.batch.complete ?? 0, "item") : count(details.files.length, "file");
  const text = { succeeded: `Succeeded: ${made}.`, failed: "The task failed." }[details.stage];
  if (text) document.getElementById("announcer").textContent = text;
}

// The media

function drawMedia() {
  const { files, job, batch, error, empty_reason: emptyReason } = details;
  if (batch) {
    media.replaceChildren(...[progressBox(batch), error ? alertBox(error) : null].filter(Boolean));
  } else if (files.length) {
    media.replaceChildren(...[error ? alertBox(error) : null, show(), strip()].filter(Boolean));
  } else if (error) {
    media.replaceChildren(alertBox(error));
  } else if (emptyReason) {
    media.replaceChildren(make("div", { class: job ? "frame" : "empty" }, job ? note(emptyReason, job.kind) : emptyReason));
  } else {
    media.replaceChildren(underway());
  }
}

function show() {
  const file = details.files[chosen];
  const measures = make("span", { class: "measures" });
  const frame = player(BASE, file, details.job?.prompt, { loaded: (text) => { measures.textContent = text; } });
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
  const { files, job } = details;
  if (files.length < 2) return null;
  const list = make("div", { class: "strip", role: "group", "aria-label": "The files of this task" });
  files.forEach((file, at) => {
    const thumb = file.kind === "image" && !file.problem
      ? make("img", { src: address(BASE, file), alt: "", loading: "lazy", decoding: "async" })
      : icon(file.kind);
    const label = `${at + 1} of ${files.length}, ${describeFile(file.kind, job?.prompt, file.name)}`;
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
  media.querySelector(".shown").replaceWith(show());
  media.querySelectorAll(".thumb").forEach((thumb, index) => {
    if (index === at) {
      thumb.setAttribute("aria-current", "true");
      thumb.focus();
    } else {
      thumb.removeAttribute("aria-current");
    }
  });
}

function underway() {
  const { job } = details;
  const words = job?.submitted_at
    ? [make("p", { class: "doing" }, `${job.title}: ${job.status ?? "submitted"}`),
      make("p", { class: "muted", "data-age": job.submitted_at }),
      make("div", { class: "track" }, make("div", { class: "progress" })),
      make("p", { class: "muted", "data-expected": "" })]
    : [make("p", { class: "doing" }, "Getting ready"), make("p", { class: "muted" }, "No job was submitted yet.")];
  return make("div", { class: "frame underway" }, make("div", { class: "sheen" }), make("div", { class: "words" }, ...words));
}

function alertBox({ message, charge, next_step: nextStep }) {
  const rows = [["Charge", charge, null], ["Next step", nextStep, "next"]].filter(([, text]) => text);
  return make(
    "div", { class: "alert", role: "group", "aria-label": "Error" },
    make("p", { class: "message" }, icon("failed"), make("span", {}, message)),
    rows.length ? make("dl", {}, ...rows.flatMap(([name, text, kind]) => [make("dt", { class: kind }, name), make("dd", { class: kind }, text)])) : null,
  );
}

// The panel

function drawPanel() {
  const { job, batch, error } = details;
  panel.replaceChildren();
  if (batch) drawValues(batch.title, batchRows(batch));
  if (batch || !job) return;
  drawValues(job.title, [
    ["Model", job.model],
    ["Credits", job.credits === null ? null : Number(job.credits).toLocaleString()],
    ["Submitted", job.submitted_at && make("time", { datetime: iso(job.submitted_at) }, moment(job.submitted_at))],
    ["Duration", job.submitted_at && job.ended_at && !error ? duration(job.ended_at - job.submitted_at) : null],
    ["Polls", job.polls || null],
    ["Tool", make("code", {}, job.tool)],
    ["Job", job.id && make("span", { class: "copied" }, make("code", {}, job.id), copyButton(job.id, "Copy job id", { bare: true }))],
    ["Name", job.name],
    ["Tag", job.id || !job.tag ? null : make("span", { class: "copied" }, make("code", {}, `#${job.tag}`), copyButton(job.tag, "Copy tag", { bare: true }))],
    ["Sent", job.id || !job.written_at ? null : make("time", { datetime: iso(job.written_at) }, moment(job.written_at))],
    ["Library", job.library_url
      && make("span", { class: "copied" }, make("code", {}, job.library_url), copyButton(job.library_url, "Copy link", { bare: true }))],
  ], job.prompt);
  const request = job.fields.filter(({ value }) => value !== job.prompt);
  if (request.length) {
    panel.append(make(
      "details", { class: "request", open: true }, make("summary", {}, "Request"),
      make("dl", { class: "values" }, ...request.flatMap(({ name, value }) => [
        make("dt", {}, make("code", {}, name)),
        make("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
      ])),
    ));
  }
}

function drawValues(title, values, prompt = null) {
  const badge = make("span", { class: `badge ${details.stage}` }, icon(details.stage), stateWord());
  panel.append(make("div", { class: "title" }, make("h1", {}, title), badge));
  if (prompt) panel.append(make("blockquote", { class: "prompt" }, prompt));
  const rows = values.filter(([, value]) => value !== null && value !== undefined);
  panel.append(make("dl", { class: "values" }, ...rows.flatMap(([name, value]) => {
    const sought = ["Name", "Tag", "Sent", "Tool"].includes(name) ? "sought" : null; // where the recovery names it
    return [make("dt", { class: sought }, name), make("dd", { class: sought }, value)];
  })));
}

function stateWord() {
  if (details.stage === "running") return details.job?.status ?? "running";
  if (details.stage === "succeeded") return details.job?.status ?? "succeeded";
  return details.state === "up_for_retry" ? "up for retry" : details.stage;
}

function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

// Time passes between two polls of the server, too.
function tick() {
  if (!details?.live) return;
  const now = Date.now() / 1000 + details.ahead;
  const age = media.querySelector("[data-age]");
  if (!age) return;
  const { submitted_at: start, expected_at: end } = details.job;
  age.textContent = `For ${duration(now - start)}`;
  const expected = media.querySelector("[data-expected]");
  const late = end && now > end;
  expected.textContent = !end ? "" : late
    ? `Usually this takes ${duration(end - start)}. It is late, and nothing is lost by that.`
    : `Expected at ${clock(end)}, in ${duration(end - now)}`;
  const progress = media.querySelector(".track .progress");
  progress.style.width = end && !late ? `${Math.round((100 * (now - start)) / (end - start))}%` : "100%";
  progress.classList.toggle("late", !end || late);
}
