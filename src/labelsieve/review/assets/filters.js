/* The filter form, in step with the filters. */

import { byId, make, number, shorten } from "./dom.js";
import { about, defaults, filters, isFiltered, setFilters } from "./state.js";

const NAMES = Object.keys(defaults);
const INPUT_DELAY = 250;

/* What can be chosen, with counts; again after a new scan. */
export function fillIn() {
  fill("f-given", about.given_counts);
  fill("f-suggested", about.suggested_counts);
  const actions = Object.entries(about.actions).map(([name, n]) => option(name, `${name} (${number.format(n)})`));
  byId("f-action").replaceChildren(option("", "any"), ...actions);
  show();
}

export function setUp() {
  fillIn();
  let timer = null;
  for (const name of NAMES) {
    const field = byId(`f-${name}`);
    const typed = field.tagName === "INPUT";
    field.addEventListener(typed ? "input" : "change", () => {
      clearTimeout(timer);
      timer = setTimeout(() => setFilters({ [name]: field.value }), typed ? INPUT_DELAY : 0);
    });
  }
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("f-clear").addEventListener("click", () => setFilters({ ...defaults }));
  byId("show-filters").addEventListener("click", () => open(!byId("filters").classList.contains("open")));
}

export function open(to) {
  byId("filters").classList.toggle("open", to);
  byId("show-filters").setAttribute("aria-expanded", String(to));
  if (to) byId("f-scope").focus();
}

export function show() {
  for (const name of NAMES) {
    const field = byId(`f-${name}`);
    if (field !== document.activeElement || field.tagName === "SELECT") field.value = filters[name];
  }
  byId("f-clear").hidden = !isFiltered();
}

const option = (value, text) => make("option", { value, textContent: text });

function fill(id, counts) {
  const options = counts
    .map((n, label) => [n, label])
    .filter(([n]) => n)
    .map(([n, label]) => option(String(label), `${shorten(about.names[label], 50)} (${number.format(n)})`));
  byId(id).replaceChildren(option("", "any"), ...options);
}
