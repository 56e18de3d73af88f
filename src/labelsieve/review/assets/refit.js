/* Scan again with what has been decided: a process beside the server, followed from here. */

import { ask, post } from "./api.js";
import { unsaved } from "./decisions.js";
import { announce, byId } from "./dom.js";
import { emit } from "./state.js";

const POLL = 1000;
let following = false;

export function setUp() {
  byId("refit").addEventListener("click", begin);
}

/* From the progress that every answer brings: another tab may have begun. */
export function showRefit(status) {
  const { state, seconds, usual, message } = status;
  const running = state === "running";
  const bar = byId("refit-bar");
  byId("refit").disabled = running;
  bar.hidden = !running;
  if (usual) bar.value = Math.min(0.99, seconds / usual);
  else bar.removeAttribute("value");
  const text = {
    idle: "",
    running: `scanning again with the decisions held fixed, ${Math.round(seconds)} s`,
    done: "the list and the estimates use the new scan",
    failed: `the new scan failed, the old one stays: ${message}`,
  }[state];
  byId("refit-text").textContent = text;
  byId("refit-text").classList.toggle("bad", state === "failed");
  if (running && !following) follow();
}

async function begin() {
  if (unsaved()) return announce("Some decisions are not saved yet.");
  try {
    const status = await post("/api/refit", {});
    announce("Scanning again. You can go on deciding.");
    showRefit(status);
  } catch (error) {
    emit("trouble", `Cannot scan again: ${error.message}`);
  }
  return undefined;
}

async function follow() {
  following = true;
  let status = { state: "running" };
  while (status.state === "running") {
    await new Promise((resolve) => { setTimeout(resolve, POLL); });
    try {
      status = await ask("/api/refit");
      if (status.state === "running") showRefit(status);
    } catch {
      break; // the server is gone; the news ask again
    }
  }
  following = false;
  if (status.state === "running") return;
  emit("refitted");
  showRefit(status);
  announce(byId("refit-text").textContent);
}
