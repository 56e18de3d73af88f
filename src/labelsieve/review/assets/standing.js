/* Progress, what is saved, conflicts, troubles. */

import { conflicts, decide } from "./decisions.js";
import { byId, make, number, percent } from "./dom.js";
import * as refit from "./refit.js";
import { describe, nameOf, on } from "./state.js";

export function showProgress(progress) {
  const { estimate, n_done: done, n_flagged: flagged } = progress;
  byId("n-done").textContent = number.format(done);
  byId("n-flagged").textContent = number.format(flagged);
  byId("n-found").textContent = number.format(estimate.found);
  byId("n-left").textContent = number.format(Math.round(estimate.remaining));
  const [low, high] = estimate.interval.map(Math.round);
  byId("left-range").textContent = `(${number.format(low)}–${number.format(high)})`;
  byId("left-line").title = "estimated from the scan's probabilities and your decisions; 90 % interval";
  byId("n-rate").textContent = share(estimate.noise_rate);
  byId("rate-range").textContent = `(${estimate.noise_interval.map(share).join("–")})`;
  byId("precision-line").hidden = estimate.precision === null;
  byId("n-precision").textContent = percent(estimate.precision);
  if (progress.refit) refit.showRefit(progress.refit);
  byId("track-fill").style.width = `${flagged ? (100 * done) / flagged : 0}%`;
}

const share = (value) => `${(100 * value).toFixed(1)} %`;

let everSaved = false;
export function showSaving({ waiting, failures, stopped }) {
  const node = byId("saved");
  everSaved ||= waiting > 0;
  node.classList.toggle("bad", Boolean(failures || stopped));
  if (stopped) node.textContent = `${waiting} not saved`;
  else if (failures) node.textContent = `${waiting} not saved, trying again`;
  else if (waiting) node.textContent = "saving …";
  else node.textContent = everSaved ? "saved" : "";
  if (stopped) trouble(stopped);
  else if (failures > 1) trouble("The server does not answer. What is not saved stays here and is sent as soon as it is back.");
  else if (!failures && byId("trouble").dataset.kind === "away") byId("trouble").hidden = true;
  byId("trouble").dataset.kind = failures ? "away" : "";
}

function trouble(text) {
  const node = byId("trouble");
  if (node.textContent !== text) node.textContent = text;
  node.hidden = false;
}

function drawConflicts() {
  const node = byId("conflicts");
  node.hidden = !conflicts.length;
  if (!conflicts.length) return;
  const items = conflicts.slice(0, 20).map((conflict) => {
    const { entry, wanted } = conflict;
    const theirs = entry.decision
      ? `${entry.decision.reviewer} has decided: ${describe(entry.decision)}` : "the decision was taken back meanwhile";
    return make("li", {}, make("strong", { textContent: entry.file }), ` (given ${nameOf(entry.given)}): ${theirs}; you want: ${describe(wanted.action === "undo" ? null : wanted)}. `,
      button("Leave theirs", () => solve([conflict], false)), button("Use mine", () => solve([conflict], true)));
  });
  node.replaceChildren(
    make("h2", { textContent: conflicts.length === 1 ? "Somebody else has decided about this image" : `Somebody else has decided about ${conflicts.length} of these images` }),
    make("ul", {}, ...items),
    conflicts.length > 1 ? make("p", {}, button("Leave all theirs", () => solve([...conflicts], false)), button("Use all mine", () => solve([...conflicts], true))) : "",
  );
}

function button(text, action) {
  const node = make("button", { type: "button", className: "quiet", textContent: text });
  node.addEventListener("click", action);
  return node;
}

function solve(list, mine) {
  for (const conflict of list) {
    conflicts.splice(conflicts.indexOf(conflict), 1);
    if (mine) decide([conflict.entry], conflict.wanted.action, conflict.wanted.label);
  }
  drawConflicts();
  byId("question")?.focus();
}

export function setUp() {
  refit.setUp();
  on("progress", showProgress);
  on("saving", showSaving);
  on("conflicts", drawConflicts);
  on("trouble", trouble);
}
