// One file at a time, over the whole tab: arrow keys, Home and End, Escape.
import { copyButton, downloadLink, icon, make, note, player, size } from "./common.js";

export class Lightbox {
  /**
   * @param dialog the element
   * @param sheet what it shows: tiles() in order, total() of them, extend() to read more; of a tile its base(), name()
   *   and key(), and more(), elements that are put below it
   */
  constructor(dialog, sheet) {
    this.dialog = dialog;
    this.sheet = sheet;
    this.current = null;
    dialog.addEventListener("keydown", (event) => this.pressed(event));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => dialog.replaceChildren()); // also stops what plays
  }

  open(tile) {
    this.show(tile);
    this.dialog.showModal();
    this.dialog.focus();
  }

  position() {
    const { key } = this.sheet;
    return this.sheet.tiles().findIndex((one) => key(one) === key(this.current));
  }

  async go(step) {
    const at = this.position() + step;
    if (at >= this.sheet.tiles().length - 1) await this.sheet.extend();
    const next = this.sheet.tiles()[at];
    if (!next) return;
    const pressed = document.activeElement?.closest(".previous") ? ".previous" : document.activeElement?.closest(".next") ? ".next" : null;
    this.show(next);
    // What had the focus is gone: its successor gets it, or the dialog, so that keys still arrive.
    const successor = pressed && this.dialog.querySelector(`${pressed}:not(:disabled)`);
    (successor ?? this.dialog).focus();
  }

  pressed(event) {
    const inPlayer = event.target.closest("video, audio, input"); // there the arrows seek, or move in a text
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -this.position(), End: this.sheet.tiles().length - 1 - this.position() };
    if (inPlayer || !(event.key in steps)) return;
    event.preventDefault();
    this.go(steps[event.key]);
  }

  show(tile) {
    this.current = tile;
    const { file, prompt } = tile;
    const base = this.sheet.base(tile);
    const at = this.position();
    const measures = make("span", { class: "measures" });
    const arrow = (name, label, step, off) => make(
      "button", { type: "button", class: `arrow ${name}`, "aria-label": label, disabled: off, click: () => this.go(step) }, icon(name),
    );
    this.dialog.replaceChildren(
      make("header", {},
        make("h2", { "aria-live": "polite" }, this.sheet.name(tile)),
        make("span", { class: "muted" }, `${at + 1} of ${this.sheet.total()}`),
        make("button", { type: "button", class: "arrow close", "aria-label": "Close", click: () => this.dialog.close() }, icon("close"))),
      arrow("previous", "Previous", -1, at === 0),
      file ? player(base, file, prompt, { autoplay: file.kind === "video", loaded: (text) => { measures.textContent = text; } })
        : make("div", { class: "frame" }, note(tile.message ?? "No file", tile.mark)),
      arrow("next", "Next", 1, at + 1 >= this.sheet.total()),
      make("footer", {},
        prompt ? make("p", { class: "prompt" }, prompt) : null,
        !file ? null
          : make("div", { class: "caption" }, make("span", {}, tile.title ?? ""), make("span", { class: "muted" }, size(file.size) ?? ""),
            measures,
            make("span", { class: "actions" }, file.problem ? null : downloadLink(base, file), copyButton(file.uri, "Copy URI"))),
        ...(this.sheet.more?.(tile) ?? [])),
    );
  }
}
