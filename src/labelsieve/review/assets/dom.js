/* Small helpers. Every text from the data reaches the page through textContent or an attribute. */

const ENLARGE = 32;
export const byId = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en-US");

export function make(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const shorten = (text, length) =>
  text.length > length ? `${[...text].slice(0, length - 1).join("")}…` : text;

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = 100 * share;
  if (value > 0 && value < 1) return "< 1 %";
  if (value > 99 && value < 100) return "> 99 %";
  return `${value.toFixed(0)} %`;
}

export const score = (value) => (value === null ? "–" : value.toFixed(3));

/* Says something to screen readers; the same text twice is said twice. */
let flip = false;
export function announce(text) {
  flip = !flip;
  byId("live").textContent = text + (flip ? "" : "\u00a0");
}

export function picture(row, { size = "small", alt = "", version = "", error = "" } = {}) {
  const frame = make("span", { className: "picture" });
  const failed = (text) => {
    frame.classList.add("empty");
    frame.replaceChildren(make("span", { textContent: text }));
  };
  if (error) {
    failed("cannot be read");
    return frame;
  }
  const image = make("img", { alt, decoding: "async", draggable: false });
  image.addEventListener("load", () => {
    const side = Math.max(image.naturalWidth, image.naturalHeight);
    if (side >= 64) return;
    image.classList.add("pixels");
    // blown up further, a tiny image falls apart into squares
    image.style.maxWidth = image.style.maxHeight = `${ENLARGE * side}px`;
  });
  image.addEventListener("error", () => failed("no image"));
  image.src = `/image/${row}/${size}?v=${version}`;
  frame.append(image);
  return frame;
}

export const key = (text) => make("kbd", { textContent: text });
