// Credits by run as stacked bars, oldest first: one SVG, without a library. The table beside it says the same.
import { make } from "./common.js";

const HEIGHT = 200; // pixels
const SLOT = 12; // pixels of a bar with its gap, at least
const COLOURS = 8; // the last one is of all other tools
const FAR = 4; // a limit beyond so many times the highest bar would make all bars flat

function draw(tag, attributes, ...inside) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

/** The colour of each tool, as a class: those with the most credits have their own. */
export function colours(tools) {
  const alone = tools.length <= COLOURS ? COLOURS : COLOURS - 1;
  return new Map(tools.map(({ tool }, at) => [tool, `tool-${at < alone ? at : COLOURS - 1}`]));
}

/** Draw the chart. `describe` says a run in words; `choose` gets the id of the one that a person is at. */
export class Chart {
  constructor(box, { describe, choose }) {
    this.box = box;
    this.describe = describe;
    this.choose = choose;
    this.at = null; // the run's id
    this.words = make("p", { class: "chosen-run", role: "status", "aria-live": "polite" });
    this.scroll = make("div", {
      class: "scroll", tabindex: "0", role: "group", "aria-roledescription": "bar chart", keydown: (event) => this.press(event),
    });
  }

  show({ runs, tools }) {
    this.runs = [...runs].reverse();
    const most = Math.max(1, ...runs.map((run) => run.credits));
    const limits = runs.map((run) => run.limit).filter((limit) => limit !== null && limit <= FAR * most);
    const top = tidy(Math.max(most, ...limits));
    const classes = colours(tools);
    const atEnd = !this.scroll.isConnected || this.scroll.scrollLeft + this.scroll.clientWidth >= this.scroll.scrollWidth - 2;
    this.scroll.setAttribute("aria-label", `Credits of ${runs.length} runs, the newest last. Use the arrow keys; the table has all numbers.`);
    const [focused, left] = [document.activeElement === this.scroll, this.scroll.scrollLeft];
    this.box.replaceChildren(this.legend(tools, classes, runs), axis(top), this.scroll, this.words);
    this.box.hidden = false;
    const room = this.scroll.clientWidth;
    const slot = Math.max(SLOT, Math.min(48, Math.floor(room / runs.length)));
    this.scroll.replaceChildren(this.bars(slot, top, classes));
    this.scroll.scrollLeft = atEnd ? this.scroll.scrollWidth : left;
    if (focused) this.scroll.focus({ preventScroll: true });
    this.mark(this.at, false);
  }

  bars(slot, top, classes) {
    const y = (credits) => HEIGHT - (HEIGHT * Math.min(credits, top)) / top;
    const width = slot * this.runs.length;
    const svg = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    for (const share of [0, 0.5, 1]) {
      const height = Math.min(HEIGHT - 0.5, HEIGHT * share + 0.5);
      svg.append(draw("line", { class: "grid", x1: 0, x2: width, y1: height, y2: height }));
    }
    this.slots = this.runs.map((run, number) => {
      const x = number * slot;
      let sum = 0;
      const parts = Object.entries(run.tools).sort((one, other) => order(classes, one) - order(classes, other));
      for (const [tool, credits] of parts) {
        const from = y(sum);
        sum += credits;
        svg.append(draw("rect", { class: classes.get(tool), x: x + 1, width: slot - 2, y: y(sum), height: Math.max(0, from - y(sum)) }));
      }
      const over = draw("rect", { class: "slot", x, width: slot, y: 0, height: HEIGHT }, draw("title", {}, this.describe(run)));
      over.addEventListener("click", () => this.mark(run.run_id));
      svg.append(over);
      if (run.limit !== null && run.limit <= top) {
        svg.append(draw("line", { class: "limit", x1: x, x2: x + slot, y1: Math.max(1, y(run.limit)), y2: Math.max(1, y(run.limit)) }));
      }
      return over;
    });
    return svg;
  }

  legend(tools, classes, runs) {
    const own = new Map();
    for (const { tool, title, credits } of tools) {
      const name = classes.get(tool);
      const before = own.get(name);
      own.set(name, before ? { title: "Other tools", credits: before.credits + credits } : { title, credits });
    }
    const keys = [...own].map(([name, { title, credits }]) => make("li", {},
      draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, draw("rect", { class: name, width: 12, height: 12, rx: 3 })),
      `${title}: ${credits.toLocaleString()}`));
    if (runs.some((run) => run.limit !== null)) {
      keys.push(make("li", {},
        draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, draw("line", { class: "limit", x1: 0, x2: 12, y1: 6, y2: 6 })),
        "Limit of a run"));
    }
    return make("ul", { class: "keys", "aria-label": "Credits by tool" }, ...keys);
  }

  press(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const last = this.runs.length - 1;
    const now = this.runs.findIndex((run) => run.run_id === this.at);
    const next = now < 0 ? last : Math.min(last, Math.max(0, now + steps[event.key]));
    this.mark(this.runs[event.key === "Home" ? 0 : event.key === "End" ? last : next].run_id);
  }

  /** Mark a run; `said` is false where the page only draws it again. */
  mark(id, said = true) {
    const number = this.runs.findIndex((run) => run.run_id === id);
    this.at = number < 0 ? null : id;
    this.slots.forEach((one, at) => one.classList.toggle("chosen", at === number));
    const words = number < 0 ? "" : this.describe(this.runs[number]);
    if (this.words.textContent !== words) this.words.textContent = words;
    if (number >= 0 && said) {
      const { x, width } = this.slots[number].getBBox();
      const { scrollLeft, clientWidth } = this.scroll;
      if (x < scrollLeft || x + width > scrollLeft + clientWidth) this.scroll.scrollLeft = x - clientWidth / 2;
    }
    this.choose(this.at);
  }
}

function order(classes, [tool]) {
  return [...classes.keys()].indexOf(tool);
}

function axis(top) {
  const labels = [["top", top], ["middle", top / 2], ["bottom", 0]];
  const short = (value) => Number(value).toLocaleString([], { notation: "compact", maximumFractionDigits: 1 });
  const widest = labels.map(([, value]) => short(value)).sort((one, other) => other.length - one.length)[0];
  return make("div", { class: "axis", "aria-hidden": "true" },
    ...labels.map(([name, value]) => make("span", { class: name }, short(value))), make("span", { class: "widest" }, widest));
}

/** The next number above that people read with ease. */
function tidy(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((times) => times * power).find((one) => one >= value) ?? value;
}
