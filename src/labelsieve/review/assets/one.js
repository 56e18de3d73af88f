/* One image at a time. */

import { actionButton } from "./actions.js";
import { ask } from "./api.js";
import { canUndo, decide, undo } from "./decisions.js";
import { announce, byId, make, number, percent, picture } from "./dom.js";
import { drawDetails } from "./details.js";
import { pickClass } from "./picker.js";
import { about, absorb, describe, emit, entries, fetchRows, filters, isOpen, nameOf, on, shown, suggestionOf } from "./state.js";

const AHEAD = 6;
const trail = [];
let position = -1;
let ahead = [];
let total = 0;
let busy = false;
let looking = null;
let lead = ""; // said before the next image is
let details = new Map();
let visible = false;

export const currentRow = () => trail[position];
const current = () => entries.get(trail[position]);

export async function start(row = null) {
  visible = true;
  trail.length = 0;
  position = -1;
  ahead = [];
  details = new Map();
  if (row !== null) {
    try {
      details.set(row, absorb(await ask(`/api/rows/${row}`)));
      trail.push(row);
      position = 0;
      draw();
      return look();
    } catch {
      /* a row of another scan: begin at the top */
    }
  }
  return fromTop();
}

export function leave() {
  visible = false;
}

async function fromTop() {
  const result = await fetchRows({ limit: AHEAD });
  total = result.total;
  ahead = result.rows.map((entry) => entry.row);
  await step(1);
}

/* Reads the rows that follow, so that the next image is there before it is asked for; one at a time. */
function look() {
  looking ??= readAhead().finally(() => { looking = null; });
  return looking;
}

async function readAhead() {
  const from = ahead.at(-1) ?? currentRow();
  if (from === undefined || ahead.length >= 3) return;
  const result = await fetchRows({ after: from, limit: AHEAD });
  // meanwhile the list may have begun anew, or gone on
  if (from !== (ahead.at(-1) ?? currentRow())) return;
  total = result.total;
  if (byId("where")) byId("where").textContent = where();
  ahead.push(...result.rows.map((entry) => entry.row));
  for (const entry of result.rows.slice(0, 3)) {
    if (entry.action !== "unreadable") new Image().src = `/image/${entry.row}/large?v=${about.version}`;
  }
}

const wanted = (row) => filters.state !== "undecided" || isOpen(entries.get(row));

/* While the next image is on its way, keys do nothing: nobody decides about what is not shown. */
export async function step(by) {
  if (busy) return;
  busy = true;
  try {
    await (by < 0 ? back() : forth());
  } catch (error) {
    emit("trouble", `The next image cannot be asked for: ${error.message}`);
  }
  busy = false;
}

async function back() {
  if (position > 0) position -= 1;
  else if (currentRow() !== undefined) {
    const result = await fetchRows({ before: currentRow(), limit: 1 });
    if (!result.rows.length) return announce("This is the first image.");
    trail.unshift(result.rows[0].row);
  }
  return draw();
}

async function forth() {
  if (position < trail.length - 1) {
    position += 1;
    return draw();
  }
  ahead = ahead.filter(wanted);
  if (!ahead.length) {
    if (looking) await looking;
    await look();
    ahead = ahead.filter(wanted);
  }
  if (!ahead.length) return drawEnd();
  trail.push(ahead.shift());
  position = trail.length - 1;
  draw();
  look().catch(() => {}); // asked again when it is needed
  return undefined;
}

export function act(name) {
  if (busy) return undefined;
  const entry = current();
  if (name === "undo") return takeBack();
  if (!entry) return undefined;
  const suggestion = suggestionOf(entry);
  if (name === "suggestion") {
    if (suggestion < 0) return announce("There is no suggestion for this image.");
    return settle(entry, "relabel", nameOf(suggestion));
  }
  if (name === "class") {
    const near = (details.get(entry.row)?.neighbours?.rows ?? []).map((other) => other.label);
    return pickClass([suggestion, entry.predicted, ...near], (label) => settle(entry, "relabel", label));
  }
  return settle(entry, name, null);
}

function settle(entry, action, label) {
  decide([entry], action, label);
  lead = `${describe(shown(entry))}. Next: `;
  return step(1);
}

export function takeBack() {
  const group = undo();
  if (!group) return announce("There is nothing to undo.");
  const text = `Undone: ${group.length === 1 ? "" : `${group.length} images, now `}${describe(shown(group[0]))}. `;
  if (!visible) return announce(text);
  lead = text;
  const row = group[0].row;
  const at = trail.lastIndexOf(row);
  if (at >= 0) position = at;
  else {
    trail.splice(position, 0, row);
  }
  return draw();
}

function question(entry) {
  if (entry.given < 0) return ["Which class is it?"];
  return ["Is this ", make("em", { className: "from", textContent: nameOf(entry.given) }), "?"];
}

function scale(share) {
  const bar = make("span", { className: "scale", attributes: { "aria-hidden": "true" } }, make("span"));
  bar.firstChild.style.width = `${100 * (share ?? 0)}%`;
  return make("span", { className: "chance" }, bar, make("span", { className: "num", textContent: percent(share) }));
}

function buttons(entry) {
  const suggestion = suggestionOf(entry);
  const name = (label) => make("strong", { textContent: nameOf(label) });
  const share = suggestion >= 0 && suggestion === entry.predicted ? entry.p_predicted : null;
  return make("div", { className: "acts" },
    actionButton("keep", act, {
      text: entry.given < 0 ? ["Leave without a label"] : ["Keep ", name(entry.given)],
      extra: entry.p_given === null ? null : scale(entry.p_given),
    }),
    actionButton("suggestion", act, {
      text: suggestion < 0 ? ["No suggestion"] : ["Take ", name(suggestion)],
      extra: share === null ? null : scale(share), disabled: suggestion < 0, className: "main-act",
    }),
    actionButton("class", act, { text: ["Another class …"] }),
    make("div", { className: "acts-small" },
      actionButton("drop", act), actionButton("unsure", act), actionButton("undo", act, { disabled: !canUndo() })),
  );
}

function stamp(entry) {
  const decision = shown(entry);
  if (!decision) return null;
  const who = decision.reviewer && decision.reviewer !== byId("reviewer").value ? ` by ${decision.reviewer}` : "";
  return make("p", { className: `stamp stamp-${decision.action}` }, make("strong", { textContent: describe(decision) }), who);
}

function draw() {
  const entry = current();
  if (!entry) return;
  const inside = byId("view-one").contains(document.activeElement);
  const focused = inside ? document.activeElement.dataset.act : undefined;
  const alt = `${entry.file}, given label ${nameOf(entry.given)}`;
  const stage = make("figure", { className: "stage" },
    picture(entry.row, { size: "large", alt, version: about.version, error: entry.error && entry.action === "unreadable" ? entry.error : "" }),
    stamp(entry),
  );
  swipe(stage);
  const nav = make("div", { className: "turn" },
    turnButton("← Previous", -1), make("p", { id: "where", className: "muted small", textContent: where() }), turnButton("Next →", 1));
  byId("view-one").replaceChildren(
    make("div", { className: "left" }, stage, nav),
    make("div", { className: "right" },
      make("h2", { id: "question", tabIndex: -1 }, ...question(entry)),
      buttons(entry),
      make("div", { id: "details", className: "details" })),
  );
  // what had the focus is drawn anew: a button gets it back, else the question
  const again = focused && byId("view-one").querySelector(`[data-act=${focused}]:enabled`);
  if (inside) (again || byId("question")).focus({ preventScroll: true });
  drawDetails(entry, details.get(entry.row));
  announce(`${lead}Given ${nameOf(entry.given)}${suggestionOf(entry) < 0 ? "" : `, suggested ${nameOf(suggestionOf(entry))}`}. ${describe(shown(entry))}.`);
  lead = "";
  readDetails(entry.row);
  emit("shown", entry.row);
}

const where = () => (total ? `${number.format(Math.max(0, total))} in this list` : "");

function turnButton(text, by) {
  const button = make("button", { type: "button", className: "quiet", textContent: text });
  button.addEventListener("click", () => step(by));
  return button;
}

/* Neighbours may still be loading at the server: then it is asked again. */
async function readDetails(row, tries = 0) {
  try {
    const fresh = await ask(`/api/rows/${row}`);
    absorb(fresh);
    details.set(row, fresh);
    if (details.size > 60) details.delete(details.keys().next().value);
    if (row !== currentRow() || !visible) return;
    drawDetails(entries.get(row), fresh);
    if (fresh.neighbours.status === "loading") {
      setTimeout(() => row === currentRow() && visible && readDetails(row, tries + 1), Math.min(4000, 500 * (tries + 1)));
    }
  } catch (error) {
    if (row === currentRow()) drawDetails(entries.get(row), null, error.message);
  }
}

async function drawEnd() {
  const left = await fetchRows({ limit: 1 });
  const again = make("button", { type: "button", className: "act main-act", textContent: left.total ? `Go through the ${number.format(left.total)} again` : "Look again" });
  again.addEventListener("click", () => start());
  const pairs = make("button", { type: "button", className: "quiet", textContent: "See the pairs" });
  pairs.addEventListener("click", () => emit("go", "pairs"));
  const text = left.total
    ? `This is the end of the list. ${number.format(left.total)} images in it are still open.`
    : "Nothing is left in this list.";
  byId("view-one").replaceChildren(
    make("div", { className: "end" },
      make("h2", { id: "question", tabIndex: -1, textContent: left.total ? "End of the list" : "All done here" }),
      make("p", { className: "muted", textContent: text }),
      make("div", { className: "row" }, again, pairs)),
  );
  position = trail.length;
  trail.length = position;
  announce(text);
}

function swipe(node) {
  let from = null;
  node.addEventListener("pointerdown", (event) => { from = event.pointerType === "touch" ? [event.clientX, event.clientY] : null; });
  node.addEventListener("pointerup", (event) => {
    if (!from) return;
    const [x, y] = [event.clientX - from[0], event.clientY - from[1]];
    if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
    from = null;
  });
}

on("settled", (changed) => {
  const entry = current();
  if (visible && entry && changed.includes(entry)) draw();
});
on("changed", (rows) => {
  if (visible && rows.includes(currentRow())) draw();
});
