"use strict";

/* Every text from the data reaches the page through textContent or an attribute, never as HTML. */
const data = JSON.parse(document.getElementById("payload").textContent);
const PAGE = 48;
const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-US");
const state = { given: "", suggested: "", action: "", text: "", order: "worst", limit: PAGE };
let matches = [];
let current = 0;

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const shorten = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const nameOf = (index) => (index < 0 ? "none" : data.names[index]);
const fileOf = (row) => data.file[row];
const idOf = (row) => (data.id[row] === null ? data.file[row] : data.id[row]);
const score = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits));

/* ---------- theme ---------- */

function remembered(value) {
  try {
    if (value !== undefined) localStorage.setItem("labelsieve-theme", value);
    return localStorage.getItem("labelsieve-theme");
  } catch {
    return null; // storage can be closed to pages opened from disk
  }
}

function setUpTheme() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} theme`);
  };
  const saved = remembered();
  if (saved === "dark" || saved === "light") root.dataset.theme = saved;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

/* ---------- filters ---------- */

function fillSelect(id, values, label, all) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const keys = [...counts.keys()].sort((a, b) => (typeof a === "number" ? a - b : 0));
  const options = keys.map((key) =>
    make("option", {
      value: String(key),
      textContent: `${shorten(label(key), 60)} (${number.format(counts.get(key))})`,
    }),
  );
  byId(id).replaceChildren(make("option", { value: "", textContent: all }), ...options);
}

const searchTexts = [];
function searchText(row) {
  searchTexts[row] ??= [fileOf(row), idOf(row), nameOf(data.given[row]), nameOf(data.suggested[row])]
    .join("\n")
    .toLowerCase();
  return searchTexts[row];
}

/* The page knows the probability of the predicted class alone, which need not be the suggested one. */
const surety = (row) => (data.suggested[row] === data.predicted[row] ? data.p_predicted[row] ?? -1 : -1);

const compareText = new Intl.Collator(undefined, { numeric: true }).compare;
const ORDERS = {
  worst: (a, b) => a - b,
  best: (a, b) => b - a,
  sure: (a, b) => surety(b) - surety(a) || a - b,
  file: (a, b) => compareText(fileOf(a), fileOf(b)),
  given: (a, b) => data.given[a] - data.given[b] || a - b,
};

function findMatches() {
  const text = state.text.trim().toLowerCase();
  matches = [];
  for (let row = 0; row < data.row.length; row += 1) {
    if (state.given !== "" && data.given[row] !== Number(state.given)) continue;
    if (state.suggested !== "" && data.suggested[row] !== Number(state.suggested)) continue;
    if (state.action !== "" && data.action[row] !== state.action) continue;
    if (text && !searchText(row).includes(text)) continue;
    matches.push(row);
  }
  matches.sort(ORDERS[state.order]);
}

function update(change) {
  Object.assign(state, { limit: PAGE }, change);
  for (const id of ["given", "suggested", "action", "order"]) byId(id).value = state[id];
  if (byId("search").value !== state.text) byId("search").value = state.text;
  findMatches();
  showGrid();
  markCells();
}

function filterPair(given, suggested) {
  update({ given, suggested: suggested ?? "", action: "", text: "" });
  byId("images").scrollIntoView();
  byId("images-title").focus({ preventScroll: true });
}

function markCells() {
  for (const button of document.querySelectorAll("button[data-suggested]")) {
    const chosen = button.dataset.given === state.given && button.dataset.suggested === state.suggested;
    button.toggleAttribute("data-chosen", chosen);
  }
}

/* ---------- grid ---------- */

function picture(row, detail) {
  const thumb = data.thumbs[row];
  if (!thumb) {
    return make("span", { className: "picture empty", textContent: "no thumbnail" });
  }
  const [encoded, width, height, small] = thumb;
  const image = make("img", {
    src: `data:image/jpeg;base64,${encoded}`,
    alt: `${fileOf(row)}: labelled ${nameOf(data.given[row])}, suggested ${nameOf(data.suggested[row])}`,
    className: small ? "pixels" : "",
    decoding: "async",
  });
  if (detail) image.title = `${width} × ${height} pixels`;
  return make("span", { className: "picture" }, image);
}

function pairText(row, length = Infinity) {
  const part = (className, name) =>
    make("span", { className, textContent: shorten(name, length), title: name });
  const given = part("from", nameOf(data.given[row]));
  if (data.suggested[row] < 0) return make("span", { className: "pair" }, given);
  const suggested = part("to", nameOf(data.suggested[row]));
  const arrow = make("span", { className: "arrow", textContent: "→" });
  arrow.setAttribute("aria-hidden", "true");
  const spoken = make("span", { className: "sr", textContent: " suggested " });
  return make("span", { className: "pair" }, given, " ", arrow, spoken, " ", suggested);
}

function card(row, position) {
  const open = make("button", { type: "button", className: "open" }, picture(row, false), pairText(row, 36));
  open.addEventListener("click", () => showDetail(position));
  const file = make("span", { className: "file", textContent: fileOf(row), title: fileOf(row) });
  const value = make("span", { className: "score", textContent: score(data.label_score[row], 3) });
  value.title = "label score, low is worse";
  const copy = make("button", { type: "button", className: "copy", textContent: "copy id" });
  copy.setAttribute("aria-label", `Copy the id of ${fileOf(row)}`);
  copy.addEventListener("click", () => copyText(idOf(row), copy));
  return make("li", { className: "card" }, open, make("span", { className: "meta" }, value, copy), file);
}

function showGrid() {
  const grid = byId("grid");
  const shown = Math.min(state.limit, matches.length);
  if (state.limit === PAGE) grid.replaceChildren();
  const fresh = [];
  for (let k = grid.children.length; k < shown; k += 1) fresh.push(card(matches[k], k));
  grid.append(...fresh);
  const filtered = ["given", "suggested", "action", "text"].some((key) => state[key] !== "");
  byId("more").hidden = shown === matches.length;
  byId("clear").hidden = !filtered;
  byId("copy-ids").hidden = matches.length === 0;
  byId("copy-ids").textContent = `Copy ${number.format(matches.length)} ids`;
  byId("status").textContent = filtered
    ? `${number.format(matches.length)} of ${number.format(data.row.length)} match, ${number.format(shown)} shown`
    : `${number.format(shown)} of ${number.format(matches.length)} shown`;
}

async function copyText(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text, className: "sr" });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = done ? "copied" : "not copied";
  setTimeout(() => {
    if (button.textContent === "copied" || button.textContent === "not copied") button.textContent = before;
    delete button.dataset.label;
  }, 1400);
}

/* ---------- one image in detail ---------- */

function showDetail(position) {
  current = position;
  const row = matches[position];
  const facts = [
    ["Given label", nameOf(data.given[row])],
    ["Suggested label", nameOf(data.suggested[row])],
    ["Predicted label", nameOf(data.predicted[row])],
    ["Proposed action", data.action[row]],
    ["Label score", score(data.label_score[row], 4)],
    ["P(given label is right)", score(data.p_clean[row], 4)],
    ["P(given)", score(data.p_given[row], 4)],
    ["P(predicted)", score(data.p_predicted[row], 4)],
    ["File", fileOf(row)],
    ["Id", idOf(row)],
    ["Row", number.format(data.row[row])],
    ["Detector", data.detector[row]],
  ].filter(([, value]) => value !== null && value !== "–");
  const list = make("dl", { className: "facts" });
  for (const [name, value] of facts) {
    list.append(make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value })));
  }
  byId("detail-title").replaceChildren(pairText(row));
  byId("detail-body").replaceChildren(picture(row, true), list);
  byId("previous").disabled = position === 0;
  byId("next").disabled = position === matches.length - 1;
  if (!byId("detail").open) byId("detail").showModal();
}

function setUpDetail() {
  const dialog = byId("detail");
  const step = (by) => matches[current + by] !== undefined && showDetail(current + by);
  byId("detail-close").addEventListener("click", () => dialog.close());
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

/* ---------- tables ---------- */

function setUpSorting(table) {
  const headers = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const numeric = header.classList.contains("num");
      const before = header.getAttribute("aria-sort");
      const down = before === "none" ? numeric : before === "ascending";
      const compare = numeric ? (a, b) => a - b : compareText;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => (down ? -1 : 1) * compare(value(a, column), value(b, column)));
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  });
}

function setUpMatrix() {
  const buttons = [...document.querySelectorAll("button[data-view]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) {
        const chosen = other === button;
        other.setAttribute("aria-pressed", String(chosen));
        byId(`matrix-${other.dataset.view}`).hidden = !chosen;
      }
      document.querySelector("[data-note=rates]").hidden = button.dataset.view !== "rates";
    });
  }
  for (const node of document.querySelectorAll(".switch")) node.hidden = false;
}

/* ---------- start ---------- */

function setUpGallery() {
  fillSelect("given", data.given, nameOf, "any");
  fillSelect("suggested", data.suggested, nameOf, "any");
  fillSelect("action", data.action.filter(Boolean), String, "any");
  for (const id of ["given", "suggested", "action", "order"]) {
    byId(id).addEventListener("change", (event) => update({ [id]: event.target.value }));
  }
  byId("search").addEventListener("input", (event) => update({ text: event.target.value }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    update({ given: "", suggested: "", action: "", text: "" });
    byId("search").focus();
  });
  byId("copy-ids").addEventListener("click", (event) => {
    copyText(matches.map(idOf).join("\n"), event.currentTarget);
  });
  byId("more").addEventListener("click", () => {
    const before = byId("grid").children.length;
    state.limit += PAGE;
    showGrid();
    byId("grid").children[before].querySelector("button").focus();
  });
  for (const button of document.querySelectorAll("button[data-given]")) {
    button.addEventListener("click", () => filterPair(button.dataset.given, button.dataset.suggested));
  }
  byId("images-title").tabIndex = -1;
  byId("filters").hidden = false;
  document.querySelector(".status").hidden = false;
  update({});
}

setUpTheme();
document.querySelectorAll("table.sortable").forEach(setUpSorting);
setUpMatrix();
if (byId("grid")) {
  setUpGallery();
  setUpDetail();
}
if (byId("command")) {
  const button = byId("copy-command");
  button.hidden = false;
  button.addEventListener("click", () => copyText(byId("command").textContent, button));
}
