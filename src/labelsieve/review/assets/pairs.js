/* Which label was given for which: one pair is decided together. */

import { ask } from "./api.js";
import { byId, make, number, picture } from "./dom.js";
import { about, emit, nameOf } from "./state.js";

export async function start() {
  const pairs = await ask("/api/pairs");
  const view = byId("view-pairs");
  if (!pairs.length) {
    view.replaceChildren(make("p", { className: "muted", textContent: "No flagged image has a suggestion." }));
    return;
  }
  view.replaceChildren(
    make("h2", { textContent: "Pairs of labels" }),
    make("p", { className: "muted", textContent: "Images with the same given and the same suggested label, most frequent first. Look through one pair and decide many at once." }),
    make("ul", { className: "pair-cards" }, ...pairs.map(pairCard)),
  );
}

function pairCard(pair) {
  const open = make("button", { type: "button", className: "pair-open" },
    make("span", { className: "strip" }, ...pair.rows.map((row) => picture(row, { version: about.version }))),
    make("span", { className: "pair" },
      make("span", { className: "from", textContent: nameOf(pair.given) }),
      make("span", { className: "arrow", textContent: " → ", attributes: { "aria-hidden": "true" } }),
      make("span", { className: "sr", textContent: " suggested " }),
      make("span", { className: "to", textContent: nameOf(pair.suggested) })),
    make("span", { className: "meta", textContent: pair.decided === pair.n
      ? `all ${number.format(pair.n)} decided` : `${number.format(pair.n - pair.decided)} of ${number.format(pair.n)} open` }));
  open.addEventListener("click", () => emit("pair", pair));
  const bar = make("span", { className: "scale", attributes: { "aria-hidden": "true" } }, make("span"));
  bar.firstChild.style.width = `${(100 * pair.decided) / pair.n}%`;
  return make("li", {}, open, bar);
}
