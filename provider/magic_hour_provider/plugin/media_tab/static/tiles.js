// Pictures and films of a contact sheet. They load when they come near, and films are unloaded when they are far.
import { icon, make, note, short } from "./common.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting && !target.getAttribute("src")) {
      target.src = target.dataset.src;
    } else if (!isIntersecting && target.getAttribute("src")) {
      target.removeAttribute("src");
      target.load(); // frees the decoder and the connection
    }
  }
}, { rootMargin: "500px" });

/** What a tile shows of a file. */
export function thumb(url, file, kind, alt) {
  if (file.problem) return note(short(file.problem, 140), kind);
  if (kind === "image") {
    const image = make("img", { src: url, alt, loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(note("This picture cannot be shown.", "image")));
    return image;
  }
  if (kind === "video") return film(url);
  return note(kind === "audio" ? "" : "For download only", kind);
}

function film(url) {
  const video = make("video", { "data-src": url, preload: "metadata", playsinline: true, loop: true, tabindex: "-1", "aria-hidden": "true" });
  video.muted = true;
  video.addEventListener("pointerenter", () => { if (!calm.matches) video.play().catch(() => {}); });
  video.addEventListener("pointerleave", () => {
    video.pause();
    video.currentTime = 0;
  });
  near.observe(video);
  return video;
}

/** A tile is not shown any more. */
export function forget(element) {
  const video = element.querySelector("video");
  if (video) near.unobserve(video);
}

/** A filter or an order that is on or off. */
export function chip(key, word, mark, number, pressed, click) {
  return make(
    "button", { type: "button", class: "chip", "data-filter": key, "aria-pressed": String(pressed), click },
    icon(mark), word, number === null ? null : make("span", { class: "muted" }, Number(number).toLocaleString()),
  );
}

/** Put elements into a box, in this order, without moving those that are in their place. */
export function place(box, elements) {
  elements.forEach((one, at) => {
    if (box.children[at] !== one) box.insertBefore(one, box.children[at] ?? null);
  });
  while (box.children.length > elements.length) box.lastChild.remove();
}

/** Elements of tiles, drawn again only where their data has changed. */
export class DrawnTiles {
  constructor(draw) {
    this.draw = draw;
    this.known = new Map(); // by key: the data that was drawn of a tile, and its element
  }

  /** Return the elements of tiles, given as pairs of a key and a tile. */
  update(tiles) {
    const before = this.known;
    this.known = new Map();
    const elements = tiles.map(([key, tile]) => {
      const data = JSON.stringify(tile);
      let one = before.get(key);
      if (one?.data !== data) {
        if (one) forget(one.element);
        const element = this.draw(tile);
        one?.element.replaceWith(element);
        one = { data, element };
      }
      before.delete(key);
      this.known.set(key, one);
      return one.element;
    });
    for (const { element } of before.values()) {
      forget(element);
      element.remove();
    }
    return elements;
  }
}
