// What both pages share. Texts reach the page as text nodes and attributes only: nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  video: "M4 5h16v14H4zM10 9v6l5-3z",
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0M19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0",
  "face-detection": "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M5 20c1-4 4-5 7-5s6 1 7 5",
  other: "M6 3h8l4 4v14H6zM14 3v4h4",
  failed: "M12 8v5M12 16.5h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  running: "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  queued: "M8 12h.01M12 12h.01M16 12h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  unknown: "M9.6 9.6a2.4 2.4 0 1 1 3.5 2.1c-.8.4-1.1.9-1.1 1.7M12 16.5h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  succeeded: "M8 12.5l3 3 5-6M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  download: "M12 4v11M7.5 11l4.5 4.5L16.5 11M5 20h14",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  close: "M6 6l12 12M18 6L6 18",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
};

/** Make an element. Attributes that are null, undefined or false are left out; functions become listeners. */
export function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...inside.flat().filter((one) => one !== null && one !== undefined));
  return element;
}

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.other);
  drawing.append(path);
  return drawing;
}

// Words

export function count(number, one, many = `${one}s`) {
  return `${Number(number).toLocaleString()} ${number === 1 ? one : many}`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

export function size(bytes) {
  if (!Number.isFinite(bytes)) return null;
  const [unit, divisor] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  const number = bytes / divisor;
  return `${number < 10 ? number.toFixed(1) : Math.round(number)} ${unit}`;
}

export function short(text, length = 120) {
  return text && text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** The task instance's name, as Airflow writes it. */
export function taskName(one) {
  if (one.label) return `${one.task_id} [${one.label}]`;
  return one.map_index >= 0 ? `${one.task_id} [${one.map_index}]` : one.task_id;
}

/** A file's description for a screen reader. */
export function describeFile(kind, prompt, name) {
  const what = { image: "Image", video: "Video", audio: "Sound" }[kind] ?? "File";
  return prompt ? `${what}: ${short(prompt, 300)}` : `${what} ${name}`;
}

// The server

/** Fetch the page's details; `ahead` is the difference between the server's clock and ours, in seconds. */
export async function fetchDetails(address) {
  const response = await fetch(address, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(await errorText(response));
  const details = await response.json();
  details.ahead = details.now - Date.now() / 1000;
  return details;
}

/** What the server says of a request that it refused. */
export async function errorText(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
  } catch {
    // a proxy's page, not JSON
  }
  return `The API server responded with HTTP ${response.status}.`;
}

/** Poll while `request` returns true; backs off while it fails, and pauses while the page is hidden. */
export function poll(request, interval, notice = document.getElementById("notice")) {
  let wait = interval;
  const step = async () => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", step, { once: true });
      return;
    }
    let more = true;
    try {
      more = await request();
      notice.hidden = true;
      wait = interval;
    } catch (error) {
      notice.textContent = `Not up to date: ${error.message}`;
      notice.hidden = false;
      wait = Math.min(wait * 2, 60000);
    }
    if (more) setTimeout(step, wait);
  };
  return step();
}

// Files

/** The address of a file's bytes. */
export function address(base, file, download = false) {
  return `${base}/files/${file.index}${download ? "?download=true" : ""}`;
}

/** Find out why the browser did not show a file. */
export async function explainFailure(url) {
  try {
    const response = await fetch(url, { headers: { range: "bytes=0-0" } });
    if (!response.ok) return await errorText(response);
    const served = response.headers.get("content-disposition") ?? "";
    if (served.startsWith("attachment")) return "This file is not what its name says, so it is for download only.";
    return "Your browser cannot show this file. You can download it.";
  } catch {
    return "The API server cannot be reached.";
  }
}

export function note(text, mark = "other") {
  return make("div", { class: "note" }, icon(mark), make("p", {}, text));
}

/** Make what shows a file in full, in a box of a size that does not depend on it. */
export function player(base, file, prompt, { autoplay = false, loaded = () => {} } = {}) {
  const frame = make("div", { class: `frame ${file.kind}` });
  if (file.problem) {
    frame.append(note(file.problem, file.kind));
    return frame;
  }
  const url = address(base, file);
  const label = describeFile(file.kind, prompt, file.name);
  const failed = async () => frame.replaceChildren(note(await explainFailure(url), file.kind));
  let media;
  if (file.kind === "image") {
    media = make("img", { src: url, alt: label, error: failed, decoding: "async" });
    media.addEventListener("load", () => loaded(`${media.naturalWidth} × ${media.naturalHeight}`));
  } else if (file.kind === "video" || file.kind === "audio") {
    media = make(file.kind, {
      src: url, "aria-label": label, controls: true, preload: "metadata", playsinline: true, error: failed,
    });
    media.addEventListener("loadedmetadata", () => {
      const long = Number.isFinite(media.duration) ? duration(media.duration) : null;
      loaded([media.videoWidth ? `${media.videoWidth} × ${media.videoHeight}` : null, long].filter(Boolean).join(" · "));
    });
    if (autoplay) media.autoplay = true;
  } else {
    frame.append(note("This kind of file is for download only.", "other"));
    return frame;
  }
  if (file.kind === "audio") frame.append(make("div", { class: "sound" }, icon("audio")));
  frame.append(media);
  return frame;
}

export function downloadLink(base, file) {
  return saveLink(address(base, file, true), file.name, "Download");
}

/** Download without leaving the page. Airflow 3.1 does not let a tab download: there the page around it does. */
export function saveLink(url, name, words) {
  const link = make("a", { class: "button", href: url, download: name }, icon("download"), words);
  link.addEventListener("click", (event) => {
    const box = window.frameElement?.sandbox;
    if (!box?.length || box.contains("allow-downloads")) return;
    event.preventDefault();
    const around = window.parent.document;
    const outer = around.createElement("a");
    outer.href = link.href;
    outer.download = name;
    around.body.append(outer);
    outer.click();
    outer.remove();
  });
  return link;
}

export function copyButton(text, what, { bare = false } = {}) {
  const words = make("span", { class: bare ? "unseen" : null, "aria-live": "polite" }, what);
  const mark = make("span", { class: "mark" }, icon("copy"));
  const button = make("button", { class: bare ? "button bare" : "button", type: "button", title: bare ? what : text }, mark, words);
  let back;
  button.addEventListener("click", async () => {
    const done = await copied(text);
    words.textContent = done ? "Copied" : "Not copied";
    mark.replaceChildren(icon(done ? "succeeded" : "failed"));
    clearTimeout(back);
    back = setTimeout(() => {
      words.textContent = what;
      mark.replaceChildren(icon("copy"));
    }, 1500);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text); // only over HTTPS and on this machine
    return true;
  } catch {
    const field = make("textarea", { class: "unseen", "aria-hidden": "true" });
    field.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
