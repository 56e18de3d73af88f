/* Pick a class by typing: a combobox in a dialog. */

import { byId, make } from "./dom.js";
import { about } from "./state.js";

const SHOWN = 60;

/* likely: labels to offer first; answer(name) is called with the choice. */
export function pickClass(likely, answer) {
  const dialog = byId("picker");
  const classes = about.names.slice(0, about.n_classes);
  const order = [...new Set([...likely.filter((k) => k >= 0 && k < classes.length), ...classes.keys()])];
  const input = make("input", {
    type: "text", autocomplete: "off", spellcheck: false, id: "picker-input",
    attributes: {
      role: "combobox", "aria-expanded": "true", "aria-controls": "picker-list",
      "aria-autocomplete": "list", "aria-labelledby": "picker-title",
    },
  });
  const list = make("ul", { id: "picker-list", attributes: { role: "listbox", "aria-label": "Classes" } });
  const count = make("p", { className: "muted small", attributes: { role: "status" } });
  let found = [];
  let active = 0;

  const choose = (label) => {
    dialog.close();
    answer(classes[label]);
  };
  const mark = () => {
    [...list.children].forEach((node, k) => node.setAttribute("aria-selected", String(k === active)));
    const node = list.children[active];
    if (node) {
      input.setAttribute("aria-activedescendant", node.id);
      node.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  };
  const refresh = () => {
    const text = input.value.trim().toLowerCase();
    const starts = [];
    const holds = [];
    for (const label of order) {
      const at = classes[label].toLowerCase().indexOf(text);
      if (at === 0) starts.push(label);
      else if (at > 0) holds.push(label);
    }
    found = [...starts, ...holds];
    active = 0;
    list.replaceChildren(
      ...found.slice(0, SHOWN).map((label, k) => {
        const node = make("li", { id: `option-${k}`, textContent: classes[label], attributes: { role: "option" } });
        if (likely.includes(label)) node.append(make("span", { className: "muted small", textContent: "likely" }));
        node.addEventListener("click", () => choose(label));
        return node;
      }),
    );
    count.textContent = found.length > SHOWN ? `${found.length} classes; type to narrow` : found.length ? "" : "no such class";
    mark();
  };
  input.addEventListener("input", refresh);
  input.addEventListener("keydown", (event) => {
    const last = Math.min(found.length, SHOWN) - 1;
    if (event.key === "ArrowDown") active = Math.min(active + 1, last);
    else if (event.key === "ArrowUp") active = Math.max(active - 1, 0);
    else if (event.key === "Enter" && found.length) return event.preventDefault(), choose(found[active]);
    else return undefined;
    event.preventDefault();
    return mark();
  });
  const close = make("button", { type: "button", className: "quiet", textContent: "Cancel" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    make("div", { className: "dialog-head" }, make("h2", { id: "picker-title", textContent: "Which class is it?" }), close),
    input, list, count,
  );
  refresh();
  dialog.showModal();
  input.focus();
}
