// A batch: how far its items are, as its task has reported it.
import { copyButton, make, moment } from "./common.js";

// In the order of the bar; what is left needs no color.
const PARTS = { complete: "complete", failed: "failed", unknown: "unknown", active: "under way", left: "left" };

export function progressBox(batch) {
  const items = batch.items;
  if (items === null) {
    return make("div", { class: "batch", role: "group", "aria-label": "Progress" },
      make("p", { class: "doing" }, "No item was begun"),
      make("p", { class: "muted" }, "The rows are read and checked before anything is paid for."));
  }
  const complete = batch.complete ?? 0;
  const words = `${number(complete)} of ${number(items)} items are complete`;
  const shown = Object.entries(PARTS).filter(([name]) => batch[name] !== null && (batch[name] > 0 || name === "complete"));
  const bar = make("div", {
    class: "shares", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": items, "aria-valuenow": Math.min(complete, items),
    "aria-valuetext": words, "aria-label": "Complete items",
  });
  for (const [name] of shown) {
    if (name === "left" || !batch[name]) continue;
    const share = make("span", { class: name });
    share.style.width = `${Math.min(100, (100 * batch[name]) / Math.max(items, 1))}%`;
    bar.append(share);
  }
  const legend = shown.map(([name, word]) => make("li", { class: name }, make("strong", {}, number(batch[name])), ` ${word}`));
  return make("div", { class: "batch", role: "group", "aria-label": "Progress" },
    make("p", { class: "doing" }, words), bar, make("ul", { class: "legend" }, ...legend));
}

/** What the panel says of a batch, as names and values. */
export function batchRows(batch) {
  const charged = batch.credits_charged === null ? null : number(batch.credits_charged);
  return [
    ["Credits", batch.max_credits === null || charged === null ? charged : `${charged} of at most ${number(batch.max_credits)}`],
    ["Reported", batch.updated_at
      && make("time", { datetime: new Date(batch.updated_at * 1000).toISOString() }, moment(batch.updated_at))],
    ["Tool", batch.tool && make("code", {}, batch.tool)],
    ["Results", place(batch.results, "Copy the address of the results")],
    ["Folder", place(batch.output_path, "Copy the address of the folder")],
  ];
}

function place(uri, what) {
  return uri && make("span", { class: "copied" }, make("code", {}, uri), copyButton(uri, what, { bare: true }));
}

function number(value) {
  return Number(value).toLocaleString();
}
