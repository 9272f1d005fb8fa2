// The items of a batch as a contact sheet: a tile for each, and a viewer with what can be done for one of them.
import { address, copyButton, count, fetchDetails, icon, make, moment, note, poll, short } from "./common.js";
import { Lightbox } from "./lightbox.js";
import { Recovery } from "./recovery.js";
import { Regenerate } from "./regenerate.js";
import { chip, DrawnTiles, place, thumb } from "./tiles.js";

const INTERVAL = 4000; // milliseconds
const PAGE = 48; // items at a time; the server sends no more than 240
const MOST = 240;
// What has become of an item: its word, its icon, and how its tile is colored.
const STATUSES = {
  complete: ["Complete", "succeeded", ""],
  failed: ["Failed", "failed", "failed"],
  unknown: ["Unknown", "unknown", "lost"],
  active: ["Under way", "running", "running"],
  left: ["Left", "queued", ""],
  broken: ["Not readable", "other", "failed"],
};
const PROBLEMS = ["failed", "unknown", "broken"];

export class ItemSheet {
  /**
   * @param element what it is drawn in
   * @param dialog of the viewer
   * @param base address of the task instance
   * @param given called when the task was cleared for an item, or may have been
   */
  constructor(element, dialog, base, given) {
    Object.assign(this, { element, base, given, live: null, status: "", problemsFirst: false, turn: 0, tiles: [], details: null });
    this.drawn = new DrawnTiles((tile) => this.drawTile(tile));
    this.filters = make("div", { class: "filters" });
    this.notice = make("p", { class: "notice", role: "status", hidden: true });
    this.grid = make("div", { class: "tiles" });
    this.empty = make("p", { class: "muted" });
    this.end = make("div", { class: "more", "aria-hidden": "true" });
    this.regenerate = new Regenerate(`${base}/regenerate`, given);
    const head = make("div", { class: "head" }, make("h2", {}, "Items"), this.filters, this.regenerate.opener);
    element.append(head, this.regenerate.element, this.notice, this.empty, this.grid, this.end);
    this.viewer = new Lightbox(dialog, {
      base: (tile) => this.baseOf(tile),
      name: (tile) => nameOf(tile),
      key: (tile) => JSON.stringify([tile.key, tile.at, tile.file?.index ?? null]),
      tiles: () => this.views(),
      total: () => this.views().length + this.details.matching - this.tiles.length,
      extend: () => this.extend(),
      more: (tile) => this.describe(tile),
    });
    new IntersectionObserver((seen) => this.seeEnd(seen), { rootMargin: "800px" }).observe(this.end);
  }

  /** Show what there is, and follow it while the task is active. */
  follow(live) {
    if (live === this.live) return;
    this.live = live;
    this.watch();
  }

  watch() {
    const mine = ++this.turn;
    let fresh = true;
    poll(async () => {
      if (mine !== this.turn) return false;
      await this.read(0, fresh ? PAGE : Math.max(this.tiles.length, PAGE), mine, fresh);
      fresh = false;
      return mine === this.turn && this.live;
    }, INTERVAL, this.notice);
  }

  async read(offset, limit, mine, fresh = false) {
    const query = new URLSearchParams({ offset, limit: Math.min(limit, MOST) });
    if (this.status) query.set("status", this.status);
    if (this.problemsFirst) query.set("problems_first", "true");
    this.element.hidden = false;
    const details = await fetchDetails(`${this.base}/items?${query}`);
    if (mine !== this.turn) return;
    this.details = details;
    const read = details.items.map((tile, at) => ({ ...tile, at: tile.key === null ? offset + at : null }));
    this.tiles = this.tiles.slice(0, offset).concat(read, offset || fresh ? [] : this.tiles.slice(MOST));
    this.draw();
  }

  /** Read the items after those that are there; false when there are no more. */
  async extend() {
    if (!this.details || this.tiles.length >= this.details.matching) return false;
    this.extending ??= this.read(this.tiles.length, PAGE, this.turn).finally(() => { this.extending = null; });
    await this.extending;
    return true;
  }

  async seeEnd(seen) {
    if (!seen.some((one) => one.isIntersecting) || !(await this.extend().catch(() => false))) return;
    requestAnimationFrame(() => { if (this.end.getBoundingClientRect().top < innerHeight + 800) this.seeEnd(seen); });
  }

  choose(change) {
    Object.assign(this, change, { isChosen: true });
    this.watch();
  }

  /** What the viewer shows one after the other: each file, and each item without one. */
  views() {
    return this.tiles.flatMap((tile) => {
      const files = tile.files.length ? tile.files : [null];
      return files.map((file) => ({ ...tile, file, mark: STATUSES[tile.status][1], title: null, prompt: null }));
    });
  }

  baseOf(tile) {
    return `${this.base}/items/${encodeURIComponent(tile.record ?? tile.key ?? "")}`;
  }

  // Drawing

  draw() {
    this.drawFilters();
    if (this.isChosen) document.getElementById("announcer").textContent = `${count(this.details.matching, "item")}.`;
    this.isChosen = false;
    this.regenerate.show(!this.live && this.details.total > 0);
    place(this.grid, this.drawn.update(this.tiles.map((tile) => [JSON.stringify([tile.key, tile.at]), tile])));
    const { problem, is_cut: isCut, total } = this.details;
    this.empty.textContent = problem ?? (isCut ? `The first ${count(total, "item")}: there are more than are shown here, and the results name all.`
      : this.tiles.length ? "" : this.status ? "No item is like that." : "No item is recorded yet.");
    this.empty.hidden = !this.empty.textContent;
  }

  drawFilters() {
    const { counts } = this.details;
    const wanted = JSON.stringify([counts, this.status, this.problemsFirst]);
    if (wanted === this.filters.dataset.drawn) return;
    this.filters.dataset.drawn = wanted;
    const focused = document.activeElement?.dataset?.filter;
    const there = Object.keys(STATUSES).filter((name) => counts[name] || name === this.status);
    const chips = there.length < 2 && !this.status ? [] : there.map((name) => chip(
      name, STATUSES[name][0], STATUSES[name][1], counts[name] ?? 0, this.status === name,
      () => this.choose({ status: this.status === name ? "" : name }),
    ));
    const order = this.problemsFirst || (PROBLEMS.some((name) => counts[name]) && there.length > 1)
      ? chip("first", "Failures first", "failed", null, this.problemsFirst, () => this.choose({ problemsFirst: !this.problemsFirst }))
      : null;
    this.filters.replaceChildren(make("div", { class: "group", role: "group", "aria-label": "State" }, ...chips),
      make("div", { class: "group" }, order));
    if (focused) this.filters.querySelector(`[data-filter="${focused}"]`)?.focus();
  }

  drawTile(tile) {
    const [word, mark, tone] = STATUSES[tile.status];
    const [file] = tile.files;
    const name = nameOf(tile);
    const words = tile.message ?? (tile.files.length > 1 ? count(tile.files.length, "file") : word);
    const label = `${name}. ${word}. ${short(tile.message ?? "", 300)}`;
    return make(
      "button", { type: "button", class: `tile ${tone || (file?.kind ?? "")}`, "aria-label": label, title: tile.message, click: () => this.open(tile) },
      make("span", { class: "thumb" }, file ? thumb(address(this.baseOf(tile), file), file, file.kind, "") : note(short(words, 140), mark)),
      make("span", { class: "under" }, icon(file ? file.kind : mark), make("span", { class: "where" }, short(name, 60)),
        make("span", { class: "what" }, file && tile.files.length < 2 ? "" : file ? words : word)),
    );
  }

  open(tile) {
    const view = this.views().find((one) => one.key === tile.key && one.at === tile.at);
    if (view) this.viewer.open(view);
  }

  // One item in the viewer

  describe(tile) {
    const copied = (text, what) => text && make("span", { class: "copied" }, make("code", {}, text), copyButton(text, what, { bare: true }));
    const rows = [
      ["Item", copied(tile.item, "Copy id of the item")],
      ["State", STATUSES[tile.status][0]],
      ["Credits", tile.credits === null ? null : Number(tile.credits).toLocaleString()],
      ["Charge", tile.charge],
      ["Next step", tile.next_step],
      ["Job", tile.job && copied(tile.job.library_url ?? tile.job.id, "Copy address of the job")],
      ["Tag", tile.tag && copied(`#${tile.tag}`, "Copy tag")],
      ["Name", tile.tag ? tile.name : null],
      ["Recorded", tile.written_at && make("time", { datetime: new Date(tile.written_at * 1000).toISOString() }, moment(tile.written_at))],
    ].filter(([, value]) => value);
    const facts = make("dl", { class: "values" }, ...rows.flatMap(([name, value]) => {
      const sought = ["Tag", "Name", "Recorded"].includes(name) ? "sought" : null; // where the recovery names it
      return [make("dt", { class: sought }, name), make("dd", { class: sought }, value)];
    }));
    return [tile.key === null ? null : facts, this.recovery(tile)].filter(Boolean);
  }

  /** What a person can do for an item, where the task has ended. */
  recovery(tile) {
    if (tile.key === null || this.live || tile.status === "broken") return null;
    const element = make("section", { class: "recovery", "aria-label": "Recovery", hidden: true });
    const recovery = new Recovery(element, `${this.base}/items/${encodeURIComponent(tile.key)}/recovery`, () => this.given());
    recovery.offer();
    return element;
  }
}

function nameOf(tile) {
  return tile.item ?? "An item of another DAG";
}
