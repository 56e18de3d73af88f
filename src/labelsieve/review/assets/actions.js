/* The five decisions as buttons, for one image and for a selection. */

import { key, make } from "./dom.js";

export const LABELS = {
  keep: ["K", "Keep"], suggestion: ["S", "Take suggestion"], class: ["C", "Another class"],
  drop: ["D", "Drop"], unsure: ["U", "Unsure"], undo: ["Z", "Undo"],
};

/* act(name) is called on a click. */
export function actionButton(name, act, { text = null, extra = null, disabled = false, className = "" } = {}) {
  const [letter, standard] = LABELS[name];
  const button = make(
    "button",
    { type: "button", className: `act act-${name} ${className}`, disabled, attributes: { "data-act": name, "aria-keyshortcuts": letter } },
    make("span", { className: "act-text" }, ...(text ?? [standard])),
    extra,
    key(letter),
  );
  button.addEventListener("click", () => act(name));
  return button;
}
