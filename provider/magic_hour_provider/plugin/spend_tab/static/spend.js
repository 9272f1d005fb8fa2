// What the runs of a DAG have paid for: totals, a chart, the table behind it, and pages of older runs.
import { Chart } from "./chart.js";
import { count, fetchDetails, make, moment, poll, saveLink } from "./common.js";

const BASE = location.pathname.replace(/\/$/, "");
const AIRFLOW = BASE.split("/magic-hour/spend/")[0];
const DAG = BASE.split("/").at(-2); // as it stands in addresses
const INTERVAL = 10000; // milliseconds
const SIZES = [50, 200, 1000]; // runs of a page; the server sends no more

const part = Object.fromEntries(["page", "totals", "sizes", "save", "chart", "rows", "empty", "pages"]
  .map((id) => [id, document.getElementById(id)]));
const chart = new Chart(part.chart, { describe: sentence, choose: markRow });
let size = SIZES[0];
let newer = []; // where the pages before this one begin
let before = null;
let turn = 0; // counts what a person has chosen: responses to older requests are dropped
let details = null;
let drawn = null; // what is shown, so that a reader keeps his place where nothing has changed

watch();

function watch() {
  const mine = ++turn;
  poll(async () => {
    const response = await fetchDetails(`${BASE}/details?${query()}`);
    if (mine !== turn) return false;
    const shown = JSON.stringify([response.runs, response.older, size]);
    details = response;
    if (shown !== drawn) show();
    drawn = shown;
    return details.live && before === null;
  }, INTERVAL);
}

function query() {
  const asked = new URLSearchParams({ count: size });
  if (before !== null) asked.set("before", before);
  return asked;
}

function show() {
  part.page.removeAttribute("aria-busy");
  drawTotals();
  drawSizes();
  const { runs } = details;
  const spent = details.totals.jobs > 0 || details.totals.unreadable > 0;
  part.save.replaceChildren(...(runs.length ? [saveLink(`${BASE}/csv?${query()}`, `spend-${decodeURIComponent(DAG)}.csv`, "CSV")] : []));
  part.rows.hidden = part.chart.hidden = !spent;
  part.empty.hidden = spent;
  if (spent) {
    drawTable();
    chart.show(details);
  } else {
    part.empty.textContent = runs.length ? "These runs have paid for no job of Magic Hour." : "This DAG has no runs here.";
  }
  drawPages();
}

// Words

function number(value) {
  return Number(value).toLocaleString();
}

function toolsOf(run) {
  return Object.entries(run.tools).sort((one, other) => other[1] - one[1]).map(([tool, credits]) => `${tool} ${number(credits)}`);
}

/** A run in one sentence, for the line below the chart. */
function sentence(run) {
  const parts = [`${run.run_id}, ${moment(run.time)}: ${count(run.credits, "credit")}`];
  if (run.limit !== null) parts[0] += ` of at most ${number(run.limit)}`;
  if (Object.keys(run.tools).length > 1) parts.push(toolsOf(run).join(", "));
  if (run.failed) parts.push(`${number(run.failed)} failed`);
  if (run.refunded) parts.push(`${number(run.refunded)} refunded`);
  return parts.concat(doubts(run)).join("; ");
}

/** What of a run is not in its numbers. */
function doubts(run) {
  const parts = [];
  if (run.unknown) parts.push(`${count(run.unknown, "job")} of unknown credits`);
  if (run.unreadable) parts.push(`${count(run.unreadable, "value")} cannot be read`);
  if (run.partial) parts.push("not all of its tasks are counted");
  return parts;
}

// Drawing

function drawTotals() {
  const { credits, average, failed, refunded, unknown, unreadable } = details.totals;
  const rows = [[credits, credits === 1 ? "credit" : "credits"], [average, "per run that paid"], [failed, "failed"], [refunded, "refunded"]];
  if (unknown) rows.push([unknown, "of unknown credits"]);
  if (unreadable) rows.push([unreadable, "unreadable"]);
  part.totals.replaceChildren(...rows.filter(([value]) => value !== null)
    .map(([value, name]) => make("div", {}, make("dt", {}, name), make("dd", {}, number(value)))));
}

function drawSizes() {
  if (part.sizes.dataset.drawn === String(size)) return;
  const focused = part.sizes.contains(document.activeElement);
  part.sizes.dataset.drawn = size;
  part.sizes.replaceChildren(...SIZES.map((one) => make("button",
    {
      type: "button", class: "chip", "aria-pressed": String(one === size), "aria-label": `${number(one)} runs`,
      click: () => {
        [size, newer, before] = [one, [], null];
        watch();
      },
    },
    number(one))));
  if (focused) part.sizes.querySelector("[aria-pressed=true]").focus();
}

function drawTable() {
  const names = ["Run", "Time", "State", "Credits", "By tool", "Jobs", "Failed", "Refunded", "Limit", "Not counted"];
  const numeric = new Set(["Credits", "Jobs", "Failed", "Refunded", "Limit"]);
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col", class: numeric.has(name) ? "amount" : null }, name)));
  const about = `${count(details.runs.length, "run")}, the newest first. A batch's jobs are its items; refunded jobs cost nothing.`;
  part.rows.replaceChildren(
    make("p", { id: "about", class: "about" }, about),
    make("table", { "aria-describedby": "about" }, make("thead", {}, head), make("tbody", {}, ...details.runs.map(row))),
  );
}

function row(run) {
  const over = run.limit !== null && run.credits > run.limit;
  const cell = (text, className = "amount") => make("td", { class: className }, text);
  return make("tr", { "data-run": run.run_id },
    make("th", { scope: "row" }, runLink(run.run_id)),
    make("td", {}, make("time", { datetime: new Date(run.time * 1000).toISOString() }, moment(run.time))),
    cell(run.state, null),
    cell(`${number(run.credits)}${over ? " (over its limit)" : ""}`, over ? "amount over" : "amount"),
    cell(toolsOf(run).join(", "), "tools"),
    cell(number(run.jobs)), cell(number(run.failed)), cell(number(run.refunded)),
    cell(run.limit === null ? "" : number(run.limit)),
    cell(doubts(run).join("; "), null));
}

/** A link to the run's Media tab; in Airflow's page it is that page that goes there. */
function runLink(id) {
  const link = make("a", { href: `${AIRFLOW}/dags/${DAG}/runs/${encodeURIComponent(id)}/plugin/magic-hour-run-media` }, id);
  link.addEventListener("click", (event) => {
    if (window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const outer = window.parent.document.createElement("a");
    outer.href = link.href;
    window.parent.document.body.append(outer);
    outer.click();
    outer.remove();
  });
  return link;
}

function markRow(id) {
  for (const one of part.rows.querySelectorAll("tbody tr")) one.classList.toggle("chosen", one.dataset.run === id);
}

function drawPages() {
  const go = (words, disabled, change) => make("button", {
    type: "button", class: "button", disabled, click: () => {
      change();
      watch();
    },
  }, words);
  const focused = part.pages.contains(document.activeElement);
  part.pages.replaceChildren(
    go("Newer runs", !newer.length, () => { before = newer.pop(); }),
    go("Older runs", details.older === null, () => {
      newer.push(before);
      before = details.older;
    }),
  );
  part.pages.hidden = !newer.length && details.older === null;
  if (focused) part.pages.querySelector("button:not([disabled])")?.focus();
}
