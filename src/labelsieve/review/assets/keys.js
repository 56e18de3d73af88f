/* Single keys, and the overlay that lists them. */

import { byId, make } from "./dom.js";

const STORE = "labelsieve-keys";
const LIST = [
  ["K", "keep the given label"],
  ["S", "take the suggestion (or Enter)"],
  ["C", "pick another class by typing (or /)"],
  ["D", "drop the image"],
  ["U", "unsure: leave it open"],
  ["Z", "undo, again and again"],
  ["→  J", "next image"],
  ["←  P", "previous image"],
  ["G", "one image or grid"],
  ["B", "pairs of labels, to decide many at once"],
  ["X", "grid: select or unselect (or Space, Enter)"],
  ["A", "grid: select all shown"],
  ["F", "filters"],
  ["?", "this list"],
];

const ACTIONS = {
  k: "keep", s: "suggestion", enter: "suggestion", c: "class", "/": "class", d: "drop", u: "unsure",
  z: "undo", j: "next", arrowright: "next", p: "previous", arrowleft: "previous", arrowup: "up",
  arrowdown: "down", g: "grid", b: "pairs", x: "select", " ": "select", a: "all", f: "filters", "?": "help",
};
const NATIVE = new Set(["enter", " "]);

function isOn() {
  try {
    return localStorage.getItem(STORE) !== "off";
  } catch {
    return true;
  }
}

/* handle(name) returns true when the key was used. */
export function listen(handle) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    // A field of a dialog that has just closed keeps the focus until the next frame: keys are ours again.
    if (target.closest("input:not([type=checkbox]), select, textarea") && !target.closest("dialog")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const key = event.key.toLowerCase();
    const name = ACTIONS[key];
    if (!name || (!isOn() && name !== "help" && !key.startsWith("arrow"))) return;
    // On a control, Enter and Space belong to it; a held key must not decide image after image.
    if (NATIVE.has(key) && target.closest("button, a, summary, input")) return;
    if (event.repeat && !["next", "previous", "up", "down"].includes(name)) return;
    if (handle(name, event)) event.preventDefault();
  });
}

export function showHelp() {
  const dialog = byId("help");
  const close = make("button", { type: "button", className: "quiet", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  const box = make("input", { type: "checkbox", checked: isOn() });
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(STORE, box.checked ? "on" : "off");
    } catch {
      /* without storage the keys stay on */
    }
  });
  const rows = LIST.map(([keys, text]) =>
    make("div", {}, make("dt", {}, ...keys.split("  ").map((k) => make("kbd", { textContent: k }))), make("dd", { textContent: text })),
  );
  dialog.replaceChildren(
    make("div", { className: "dialog-head" }, make("h2", { id: "help-title", textContent: "Keys" }), close),
    make("dl", { className: "keys" }, ...rows),
    make("label", { className: "check" }, box, "Single keys decide"),
    make("p", { className: "muted small", textContent: "A decision is on the disk before the page says “saved”. On a touch screen, swipe left or right for the next or previous image." }),
  );
  dialog.showModal();
}
