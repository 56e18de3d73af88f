/* Decisions on their way to the disk: sent in order, confirmed, undone, in conflict. */

import { Refusal, send } from "./api.js";
import { about, emit, entries, shown } from "./state.js";

const RETRY = [1000, 2000, 4000];
const AT_ONCE = 200;
const memory = () => `labelsieve-undo-${about.rows_key}`;
const waiting = [];
let sending = false;
let failures = 0;
let stopped = "";
let undoable = [];
export const conflicts = [];

export const reviewer = () => document.getElementById("reviewer").value;

/* entries_: what is decided together; before: what undo restores. */
export function decide(chosen, action, label = null, { undoing = false, versions = null } = {}) {
  const items = chosen.map((entry, k) => {
    const kept = action === "relabel" && entry.given >= 0 && about.names[entry.given] === label;
    const item = {
      entry,
      action: kept ? "keep" : action,
      label: kept || action !== "relabel" ? null : label,
      before: shown(entry),
      // A second decision in a row builds on one's own first, which may still be on its way.
      version: entry.pending !== undefined ? null : (versions?.[k] ?? entry.version),
      saved: null,
    };
    entry.pending =
      item.action === "undo" ? null : { action: item.action, label: item.label, reviewer: reviewer() };
    return item;
  });
  if (!undoing) undoable.push(items);
  waiting.push(...items);
  emit("decided", items.map((item) => item.entry));
  flush();
  return items;
}

/* Takes the last group back; returns its entries, or null when there is nothing to undo. */
export function undo() {
  const group = undoable.pop();
  if (!group) return null;
  for (const item of group.filter((one) => !one.lost)) {
    const { action, label } = item.before ?? { action: "undo", label: null };
    decide([item.entry], action, label, { undoing: true, versions: [item.saved ?? item.entry.version] });
  }
  remember();
  return group.map((item) => item.entry);
}

export const canUndo = () => undoable.length > 0;
export const unsaved = () => waiting.length;

async function flush() {
  if (sending || stopped || !waiting.length) return report();
  sending = true;
  const rows = new Set();
  let count = 0;
  while (count < Math.min(waiting.length, AT_ONCE) && !rows.has(waiting[count].entry.row)) {
    rows.add(waiting[count].entry.row);
    count += 1;
  }
  const batch = waiting.slice(0, count);
  report();
  try {
    const wanted = batch.map(({ entry, action, label, version }) => ({
      row: entry.row, action, label, version: version ?? entry.version,
    }));
    const result = await send(wanted, reviewer(), about.rows_key);
    waiting.splice(0, count);
    failures = 0;
    settle(batch, result);
  } catch (error) {
    failed(batch, count, error);
  }
  sending = false;
  report();
  if (waiting.length && !stopped) {
    setTimeout(flush, failures ? RETRY[Math.min(failures, RETRY.length) - 1] : 0);
  }
}

function failed(batch, count, error) {
  if (error instanceof Refusal && [401, 403, 421].includes(error.status)) {
    stopped = "This page no longer has the key of the server. Open the address that it printed.";
  } else if (error instanceof Refusal && error.status < 500) {
    waiting.splice(0, count);
    for (const item of batch) {
      delete item.entry.pending;
      item.lost = true;
    }
    emit("trouble", `Not saved: ${error.message}`);
    emit("settled", batch.map((item) => item.entry));
  } else {
    failures += 1;
  }
}

function settle(batch, result) {
  const saved = new Map(result.saved.map((one) => [one.row, one]));
  for (const item of batch) {
    const { entry } = item;
    const more = waiting.some((other) => other.entry === entry);
    const one = saved.get(entry.row);
    if (one) {
      item.saved = one.version;
      Object.assign(entry, { decision: one.decision, version: one.version });
    }
    else item.lost = true; // a conflict: there is nothing of one's own to undo
    if (!more) delete entry.pending;
  }
  for (const one of result.conflicts) {
    const entry = entries.get(one.row);
    Object.assign(entry, { decision: one.decision, version: one.version });
    conflicts.push({ entry, wanted: one.wanted });
  }
  remember();
  emit("progress", result.progress);
  emit("settled", batch.map((item) => item.entry));
  if (result.conflicts.length) emit("conflicts");
}

function report() {
  emit("saving", { waiting: waiting.length, failures, stopped });
}

/* The undo list outlives a reload and a restart of the server. */
function remember() {
  undoable = undoable.slice(-200);
  const plain = undoable.slice(-50).map((group) =>
    group.map(({ entry, before, saved }) => ({ row: entry.row, before, saved })),
  );
  try {
    sessionStorage.setItem(memory(), JSON.stringify(plain));
  } catch {
    /* without storage, undo reaches back to the last reload */
  }
}

export async function recall(load) {
  let plain = [];
  try {
    plain = JSON.parse(sessionStorage.getItem(memory()) ?? "[]");
  } catch {
    return;
  }
  const rows = [...new Set(plain.flat().map((item) => item.row))];
  const found = new Map();
  for (const row of rows.slice(-60)) {
    try {
      found.set(row, await load(row));
    } catch {
      /* a row of another scan */
    }
  }
  const groups = plain.map((group) => group.filter((item) => found.has(item.row) && item.saved !== null));
  const old = groups.filter((group) => group.length);
  undoable.unshift(...old.map((group) => group.map((item) => ({ ...item, entry: found.get(item.row) }))));
}

addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault();
});
