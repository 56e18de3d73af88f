/* Many images at once: select, then decide together. */

import { actionButton } from "./actions.js";
import { decide } from "./decisions.js";
import { announce, byId, make, number, picture, score, shorten } from "./dom.js";
import { pickClass } from "./picker.js";
import { takeBack } from "./one.js";
import { about, describe, emit, fetchRows, filters, nameOf, on, shown, suggestionOf } from "./state.js";

const PAGE = 48;
let rows = [];
let chosen = new Set();
let focus = 0;
let span = { offset: 0, total: 0 };
let visible = false;

export async function start() {
  visible = true;
  await load({ offset: 0 });
}
export function leave() {
  visible = false;
}

async function load(window) {
  const result = await fetchRows({ limit: PAGE, ...window });
  rows = result.rows;
  span = { offset: result.offset, total: result.total };
  chosen = new Set();
  focus = 0;
  draw();
  announce(`${rows.length} of ${result.total} images`);
  if ([document.body, null].includes(document.activeElement)) {
    byId("cards").querySelector(".face")?.focus({ preventScroll: true });
  }
}

export const focusedRow = () => rows[focus]?.row ?? null;

function pairTitle() {
  if (filters.given === "" || filters.suggested === "") return null;
  return make("h2", {}, "Are these ", make("em", { className: "from", textContent: nameOf(Number(filters.given)) }),
    " or ", make("em", { className: "to", textContent: nameOf(Number(filters.suggested)) }), "?");
}

function draw() {
  const list = make("ul", { className: "cards", id: "cards" }, ...rows.map(card));
  const from = rows.length ? span.offset + 1 : 0;
  const state = make("p", { className: "muted", textContent: rows.length
    ? `${number.format(from)}–${number.format(span.offset + rows.length)} of ${number.format(span.total)}` : "Nothing is left in this list." });
  byId("view-grid").replaceChildren(
    pairTitle() ?? "",
    make("div", { className: "grid-head" }, state, turn("← Previous page", -1), turn("Next page →", 1)),
    list,
    toolbar(),
  );
  refresh();
}

function turn(text, by) {
  const none = by < 0 ? span.offset === 0 : span.offset + rows.length >= span.total;
  const button = make("button", { type: "button", className: "quiet", textContent: text, disabled: none });
  button.addEventListener("click", () => page(by));
  return button;
}

/* By row, not by number: decided rows leave the list and would shift the numbers. */
export function page(by) {
  if (!rows.length) return load({ offset: 0 });
  return load(by > 0 ? { after: rows.at(-1).row } : { before: rows[0].row }).then(() => scrollTo({ top: 0 }));
}

function toolbar() {
  const all = make("button", { type: "button", className: "quiet", id: "select-all" });
  all.addEventListener("click", selectAll);
  const act_ = (name, text) => actionButton(name, act, text ? { text: [text] } : {});
  return make("div", { className: "dock", attributes: { role: "toolbar", "aria-label": "Decide about the selection" } },
    all, make("p", { id: "n-chosen", className: "muted", attributes: { role: "status" } }),
    act_("keep"), act_("suggestion"), act_("class"), act_("drop"), act_("unsure"), act_("undo"));
}

function card(entry, k) {
  const suggestion = suggestionOf(entry);
  const box = make("input", { type: "checkbox", className: "box", tabIndex: -1, attributes: { "aria-label": `Select ${entry.file}` } });
  box.addEventListener("change", () => toggle(k, box.checked));
  const alt = `${entry.file}: given ${nameOf(entry.given)}${suggestion < 0 ? "" : `, suggested ${nameOf(suggestion)}`}`;
  const face = make("button", { type: "button", className: "face", tabIndex: k === focus ? 0 : -1, attributes: { "aria-pressed": "false", "data-name": alt } },
    picture(entry.row, { version: about.version, error: entry.action === "unreadable" ? entry.error : "" }),
    make("span", { className: "badge" }));
  face.addEventListener("click", () => toggle(k));
  face.addEventListener("focus", () => { focus = k; });
  face.addEventListener("dblclick", () => emit("open", entry.row));
  const open = make("button", { type: "button", className: "link small", textContent: "open", tabIndex: -1, attributes: { "aria-label": `Open ${entry.file}` } });
  open.addEventListener("click", () => emit("open", entry.row));
  return make("li", { className: "card", attributes: { "data-row": entry.row } }, face, box,
    make("p", { className: "pair" },
      make("span", { className: "from", textContent: shorten(nameOf(entry.given), 40) }),
      suggestion < 0 ? null : make("span", { className: "arrow", textContent: " → " }),
      suggestion < 0 ? null : make("span", { className: "to", textContent: shorten(nameOf(suggestion), 40) })),
    make("p", { className: "meta" }, make("span", { className: "num", textContent: score(entry.label_score) }), open));
}

function toggle(k, to = !chosen.has(k)) {
  if (to) chosen.add(k);
  else chosen.delete(k);
  focus = k;
  refresh();
}

function selectAll() {
  const full = chosen.size === rows.length;
  chosen = new Set(full ? [] : rows.keys());
  refresh();
}

/* Brings marks and numbers up to date without drawing the images again. */
function refresh() {
  const cards = byId("cards")?.children ?? [];
  [...cards].forEach((node, k) => {
    const decision = shown(rows[k]);
    node.classList.toggle("chosen", chosen.has(k));
    node.classList.toggle("done", Boolean(decision));
    node.querySelector(".box").checked = chosen.has(k);
    const face = node.querySelector(".face");
    face.setAttribute("aria-pressed", String(chosen.has(k)));
    face.setAttribute("aria-label", `${face.dataset.name}, ${describe(decision)}`);
    face.tabIndex = k === focus ? 0 : -1;
    const badge = node.querySelector(".badge");
    badge.textContent = decision ? describe(decision) : "";
    badge.className = `badge ${decision ? `stamp-${decision.action}` : ""}`;
  });
  if (!byId("n-chosen")) return;
  byId("n-chosen").textContent = chosen.size ? `${number.format(chosen.size)} selected` : "none selected";
  byId("select-all").textContent = chosen.size === rows.length && rows.length ? "Select none" : `Select all ${rows.length} shown`;
}

export function act(name) {
  if (name === "undo") return takeBack();
  const picked = [...chosen].sort((a, b) => a - b).map((k) => rows[k]);
  const inGrid = document.activeElement?.closest(".card");
  const targets = picked.length ? picked : inGrid && rows[focus] ? [rows[focus]] : [];
  if (!targets.length) return announce("Select images first.");
  if (name === "class") {
    const likely = [...new Set(targets.flatMap((entry) => [suggestionOf(entry), entry.given]))];
    return pickClass(likely, (label) => finish(targets, "relabel", label));
  }
  if (name !== "suggestion") return finish(targets, name, null);
  const groups = new Map();
  for (const entry of targets) {
    const label = suggestionOf(entry);
    if (label >= 0) groups.set(label, [...(groups.get(label) ?? []), entry]);
  }
  if (!groups.size) return announce("There is no suggestion for these images.");
  for (const [label, group] of groups) decide(group, "relabel", nameOf(label));
  return after([...groups.values()].flat());
}

function finish(targets, action, label) {
  decide(targets, action, label);
  after(targets);
}

function after(targets) {
  announce(`${targets.length} ${targets.length === 1 ? "image" : "images"}: ${describe(shown(targets[0]))}`);
  const single = !chosen.size;
  chosen = new Set();
  if (single) move(1);
  refresh();
}

export function move(by) {
  focus = Math.max(0, Math.min(rows.length - 1, focus + by));
  refresh();
  byId("cards").children[focus]?.querySelector(".face").focus();
}

export function handle(name) {
  const columns = getComputedStyle(byId("cards")).gridTemplateColumns.split(" ").length;
  const moves = { next: 1, previous: -1, down: columns, up: -columns };
  if (name in moves) move(moves[name]);
  else if (name === "select") toggle(focus);
  else if (name === "all") selectAll();
  else if (name === "suggestion" && !chosen.size && document.activeElement?.closest(".card") === null) return false;
  else act(name);
  return true;
}

on("settled", () => visible && refresh());
on("decided", () => visible && refresh());
on("changed", () => visible && refresh());
