/* Puts the page together: views, keys, address, news from other reviewers. */

import { ask } from "./api.js";
import { recall, unsaved } from "./decisions.js";
import { byId } from "./dom.js";
import * as filterForm from "./filters.js";
import * as grid from "./grid.js";
import { listen, showHelp } from "./keys.js";
import * as one from "./one.js";
import * as pairs from "./pairs.js";
import * as standing from "./standing.js";
import { about, absorb, defaults, emit, entries, filters, on, setFilters } from "./state.js";

const NEWS = 4000;
const VIEWS = { one, grid, pairs };
let view = "one";
let seq = 0;

async function go(next, row = null) {
  VIEWS[view].leave?.();
  view = next;
  for (const name of Object.keys(VIEWS)) {
    byId(`view-${name}`).hidden = name !== view;
    document.querySelector(`button[data-view=${name}]`).setAttribute("aria-pressed", String(name === view));
  }
  document.body.dataset.view = view;
  remember();
  const main = byId("main");
  main.setAttribute("aria-busy", "true");
  try {
    await VIEWS[view].start(row);
  } catch (error) {
    emit("trouble", error.message);
  }
  main.setAttribute("aria-busy", "false");
}

/* The address holds view, row and filters, so a reload comes back to the same place. */
function remember() {
  const values = new URLSearchParams({ view });
  if (view === "one" && one.currentRow() !== undefined) values.set("row", one.currentRow());
  for (const [name, value] of Object.entries(filters)) if (String(value) !== defaults[name]) values.set(name, value);
  history.replaceState(null, "", `${location.pathname}#${values}`);
}

function recallPlace() {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(defaults)) if (values.has(name)) filters[name] = values.get(name);
  const row = values.get("row");
  return [values.get("view") in VIEWS ? values.get("view") : "one", row === null || !/^\d+$/.test(row) ? null : Number(row)];
}

function handle(name) {
  if (name === "help") return showHelp(), true;
  if (name === "filters") return filterForm.open(!byId("filters").classList.contains("open")), true;
  if (name === "pairs") return go("pairs"), true;
  if (name === "grid") return view === "grid" ? go("one", grid.focusedRow()) : go("grid"), true;
  if (view === "grid") return grid.handle(name);
  if (view !== "one") return name === "undo" ? (one.takeBack(), true) : false;
  if (name === "next" || name === "previous") return one.step(name === "next" ? 1 : -1), true;
  if (["keep", "suggestion", "class", "drop", "unsure", "undo"].includes(name)) return one.act(name), true;
  return false;
}

/* Decisions of other tabs and reviewers. */
async function news() {
  if (!document.hidden && !unsaved()) {
    try {
      const { rows, progress } = await ask("/api/changes", { since: seq });
      seq = progress.seq;
      const changed = [];
      for (const fresh of rows) {
        const entry = entries.get(fresh.row);
        if (!entry || entry.pending !== undefined || entry.version >= fresh.version) continue;
        Object.assign(entry, fresh);
        changed.push(fresh.row);
      }
      standing.showProgress(progress);
      if (changed.length) emit("changed", changed);
      if (progress.version !== about.version) await renew();
    } catch {
      /* the next decision says if the server is gone */
    }
  }
  setTimeout(news, NEWS);
}

/* The scan in the folder is a new one: list and estimates begin anew, at the same image. */
async function renew() {
  const fresh = await ask("/api/about");
  if (fresh.rows_key !== about.rows_key) return location.reload(); // other images in the rows
  Object.assign(about, fresh);
  standing.showProgress(await ask("/api/progress"));
  filterForm.fillIn();
  return go(view, view === "one" ? (one.currentRow() ?? null) : null);
}

function stored(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
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
  const saved = stored("labelsieve-theme");
  if (saved === "dark" || saved === "light") root.dataset.theme = saved;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored("labelsieve-theme", root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}

async function begin() {
  history.replaceState(null, "", location.pathname + location.hash); // the key leaves the address
  setUpTheme();
  standing.setUp();
  Object.assign(about, await ask("/api/about"));
  byId("data-name").textContent = about.data;
  document.title = `${about.data} · review labels`;
  byId("reviewer").value = stored("labelsieve-reviewer") || about.reviewer;
  byId("reviewer").addEventListener("change", (event) => stored("labelsieve-reviewer", event.target.value));
  if (about.problem) emit("trouble", `No images: ${about.problem}.`);
  const progress = await ask("/api/progress");
  seq = progress.seq;
  standing.showProgress(progress);
  const [wanted, row] = recallPlace();
  filterForm.setUp();
  await recall(async (k) => absorb(await ask(`/api/rows/${k}`)));
  for (const button of document.querySelectorAll("button[data-view]")) {
    button.addEventListener("click", () => go(button.dataset.view));
  }
  byId("show-help").addEventListener("click", showHelp);
  on("filters", () => {
    filterForm.show();
    go(view === "pairs" ? "grid" : view);
  });
  on("open", (k) => go("one", k));
  on("refitted", () => renew().catch((error) => emit("trouble", error.message)));
  on("go", (name) => go(name));
  on("shown", remember);
  on("pair", (pair) => {
    view = "grid";
    byId("view-pairs").hidden = true;
    setFilters({ ...defaults, given: String(pair.given), suggested: String(pair.suggested) });
  });
  listen(handle);
  await go(wanted, row);
  setTimeout(news, NEWS);
}

begin().catch((error) => {
  byId("trouble").textContent = `The page cannot start: ${error.message}`;
  byId("trouble").hidden = false;
});
