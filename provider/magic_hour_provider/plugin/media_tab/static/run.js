// A run as a contact sheet.
import { address, count, describeFile, duration, fetchDetails, icon, make, note, poll, short, taskName } from "./common.js";
import { Lightbox } from "./lightbox.js";
import { chip, DrawnTiles, place, thumb } from "./tiles.js";

const BASE = location.pathname.replace(/\/$/, "");
const INTERVAL = 4000; // milliseconds
const PAGE = 120; // tiles at a time; the server sends no more than 1000
const KINDS = { image: "Images", video: "Videos", audio: "Sounds", "face-detection": "Faces", other: "Others" };
const STAGES = { succeeded: "Succeeded", running: "Running", queued: "Queued", failed: "Failed" };

const sheet = document.getElementById("sheet");
const announcer = document.getElementById("announcer");
const more = document.getElementById("more");
const filter = { kind: "", stage: "" };
let details = null;
let tiles = []; // the first ones, in order, as the server sent them
let turn = 0; // counts changes of the filter: responses to older requests are dropped
const drawn = new DrawnTiles(drawTile);
const lightbox = new Lightbox(document.getElementById("lightbox"), {
  base: baseOf,
  name: taskName,
  key: keyOf,
  tiles: () => tiles.filter((tile) => tile.file),
  total: () => details.with_file,
  extend: () => extend(),
});

watch();

function watch() {
  const mine = ++turn;
  let fresh = true;
  poll(async () => {
    if (mine !== turn) return false;
    const before = details?.totals.files;
    await read(0, fresh ? PAGE : Math.max(tiles.length, PAGE), mine, fresh);
    fresh = false;
    if (before !== undefined && details.totals.files > before) {
      announcer.textContent = `${count(details.totals.files - before, "new file")}.`;
    }
    return mine === turn && details.live;
  }, INTERVAL);
}

/** Read some tiles, and draw all that are known then. */
async function read(offset, limit, mine, fresh = false) {
  const query = new URLSearchParams({ offset, limit: Math.min(limit, 1000) });
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value);
  const response = await fetchDetails(`${BASE}/details?${query}`);
  if (mine !== turn) return;
  details = response;
  tiles = tiles.slice(0, offset).concat(response.tiles, offset || fresh ? [] : tiles.slice(1000));
  draw();
}

/** Read the tiles after those that are there; false when there are no more. */
async function extend() {
  if (!details || tiles.length >= details.matching) return false;
  extend.running ??= read(tiles.length, PAGE, turn).finally(() => { extend.running = null; });
  await extend.running;
  return true;
}

const end = new IntersectionObserver(async (seen) => {
  if (!seen.some((one) => one.isIntersecting) || !(await extend().catch(() => false))) return;
  end.unobserve(more); // it may still be in sight: ask again
  end.observe(more);
}, { rootMargin: "1500px" });
end.observe(more);

// Drawing

function draw() {
  sheet.removeAttribute("aria-busy");
  drawTotals();
  drawFilters();
  const sections = new Map();
  drawn.update(tiles.map((tile) => [keyOf(tile), tile])).forEach((element, at) => {
    const { task_id: task } = tiles[at];
    if (!sections.has(task)) sections.set(task, []);
    sections.get(task).push(element);
  });
  place(sheet, [...sections].map(([task, elements]) => section(task, elements)));
  if (!tiles.length) sheet.replaceChildren(make("p", { class: "empty" }, emptyReason()));
}

function emptyReason() {
  if (filter.kind || filter.stage) return "Nothing in this run is like that.";
  return details.live ? "Nothing to see yet." : "No task of this run has made media with Magic Hour.";
}

function section(task, elements) {
  let found = [...sheet.children].find((one) => one.dataset.task === task);
  if (!found) {
    found = make("section", { "data-task": task, "aria-label": task },
      make("h2", {}, make("span", {}, task), make("span", { class: "muted" })), make("div", { class: "tiles" }));
  }
  found.querySelector(".muted").textContent = Number(details.tasks[task] ?? elements.length).toLocaleString();
  place(found.querySelector(".tiles"), elements);
  return found;
}

function drawTotals() {
  const { files, credits, limit, seconds } = details.totals;
  const rows = [[Number(files).toLocaleString(), files === 1 ? "file" : "files"],
    [Number(credits).toLocaleString(), limit === null ? (credits === 1 ? "credit" : "credits") : `of at most ${count(limit, "credit")}`]];
  if (seconds) rows.push([duration(seconds), "of rendering"]);
  const totals = rows.map(([number, name]) => make("div", {}, make("dt", {}, name), make("dd", {}, number)));
  document.getElementById("totals").replaceChildren(...totals);
}

function drawFilters() {
  const bar = document.getElementById("filters");
  const wanted = JSON.stringify([details.kinds, details.stages, filter]);
  if (bar.dataset.drawn === wanted) return;
  const focused = document.activeElement?.dataset?.filter;
  bar.dataset.drawn = wanted;
  bar.replaceChildren(group("kind", "Kind", KINDS, details.kinds), group("stage", "State", STAGES, details.stages));
  if (focused) bar.querySelector(`[data-filter="${focused}"]`)?.focus();
}

function group(name, title, words, counts) {
  const choices = Object.entries(words).filter(([value]) => counts[value] || filter[name] === value);
  const chips = choices.length < 2 && !filter[name] ? [] : choices.map(([value, word]) => chip(
    `${name}-${value}`, word, value, counts[value] ?? 0, filter[name] === value,
    () => choose(name, filter[name] === value ? "" : value),
  ));
  return make("div", { class: "group", role: "group", "aria-label": title }, ...chips);
}

function choose(name, value) {
  filter[name] = value;
  watch();
}

// Tiles

function baseOf(tile) {
  return `${BASE}/tasks/${encodeURIComponent(tile.task_id)}/${tile.map_index}`;
}

function keyOf(tile) {
  return JSON.stringify([tile.task_id, tile.map_index, tile.file?.index ?? null]);
}

function drawTile(tile) {
  const label = `${taskName(tile)}. ${tile.file ? describeFile(tile.kind, tile.prompt, tile.file.name) : short(words(tile), 300)}`;
  const where = tile.map_index >= 0 || tile.label ? `${tile.label ?? tile.map_index}` : "";
  const caption = make("span", { class: "under" }, icon(tile.file ? tile.kind : tile.stage),
    where ? make("span", { class: "where" }, where) : null,
    make("span", { class: "what" }, short(tile.prompt ?? tile.file?.name ?? tile.title ?? "", 80)));
  if (!tile.file) {
    return make("div", { class: `tile plain ${tile.stage}`, role: "group", "aria-label": label, title: words(tile) },
      make("span", { class: "thumb" }, note(short(words(tile), 140), tile.stage)), caption);
  }
  const opened = () => lightbox.open(tile, baseOf(tile));
  return make("button", { type: "button", class: `tile ${tile.kind}`, "aria-label": label, title: tile.prompt, click: opened },
    make("span", { class: "thumb" }, thumb(address(baseOf(tile), tile.file), tile.file, tile.kind, describeFile("image", tile.prompt, tile.file.name))),
    caption);
}

function words(tile) {
  if (tile.message) return tile.message;
  const name = tile.title ?? "Magic Hour";
  return { running: `${name}: running`, queued: "Not started yet", failed: `${name} failed` }[tile.stage] ?? "No file";
}
