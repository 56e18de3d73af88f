/* What the page knows: names, filters, and one entry a row that has been seen. */

import { ask } from "./api.js";

export const about = { names: [], n_classes: 0 };
export const defaults = {
  scope: "flagged", state: "undecided", given: "", suggested: "", action: "",
  low: "", high: "", text: "", order: "worst",
};
export const filters = { ...defaults };
export const entries = new Map();

const listeners = new Map();
export function on(event, action) {
  listeners.set(event, [...(listeners.get(event) ?? []), action]);
}
export function emit(event, value) {
  for (const action of listeners.get(event) ?? []) action(value);
}

export const nameOf = (label) => (label < 0 ? "no label" : about.names[label]);

/* The label that "take the suggestion" means; -1 when there is none. */
export function suggestionOf(entry) {
  if (entry.suggested >= 0) return entry.suggested;
  return entry.predicted !== entry.given ? entry.predicted : -1;
}

/* The decision to show: the one on its way, else the saved one. */
export const shown = (entry) => (entry.pending === undefined ? entry.decision : entry.pending);
export const isOpen = (entry) => !shown(entry) || shown(entry).action === "unsure";

export function absorb(fresh) {
  const known = entries.get(fresh.row);
  if (!known) {
    entries.set(fresh.row, fresh);
    return fresh;
  }
  const { decision, version, ...rest } = fresh;
  Object.assign(known, rest);
  if (known.pending === undefined && version >= known.version) Object.assign(known, { decision, version });
  return known;
}

export async function fetchRows(window) {
  const result = await ask("/api/rows", { ...filters, ...window });
  return { ...result, rows: result.rows.map(absorb) };
}

export function describe(decision) {
  if (!decision) return "undecided";
  const words = { keep: "kept", drop: "dropped", unsure: "unsure", relabel: decision.label };
  return words[decision.action];
}

export const isFiltered = () =>
  Object.keys(defaults).some((name) => String(filters[name]) !== String(defaults[name]));

export function setFilters(change) {
  Object.assign(filters, change);
  emit("filters");
}
