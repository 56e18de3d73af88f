/* Why it was flagged, its nearest images, and what was decided before. */

import { decide } from "./decisions.js";
import { byId, make, percent, picture, score } from "./dom.js";
import { about, emit, nameOf, shown } from "./state.js";

export function drawDetails(entry, detail, problem = "") {
  const box = byId("details");
  if (!box || !entry) return;
  if (!detail) {
    box.replaceChildren(make("p", { className: "muted small", textContent: problem || "reading …" }));
    return;
  }
  box.replaceChildren(...[why(entry, detail), near(entry, detail), facts(detail), past(entry, detail)].filter(Boolean));
}

function why(entry, detail) {
  const signs = detail.evidence;
  if (!signs.length) {
    return make("p", { className: "muted", textContent: entry.error || "There is no label to judge." });
  }
  const against = signs.filter((sign) => sign.against).length;
  const items = signs.map((sign) =>
    make("li", { className: sign.against ? "against" : "for" },
      make("span", { className: "mark", textContent: sign.against ? "✕" : "✓", attributes: { "aria-hidden": "true" } }),
      make("span", { className: "sr", textContent: sign.against ? "Against the label: " : "For the label: " }),
      sign.text));
  return make("section", {},
    make("h3", { textContent: `${against} of ${signs.length} signs speak against the label` }),
    make("ul", { className: "signs" }, ...items));
}

function near(entry, detail) {
  const { status, message, rows } = detail.neighbours;
  let content;
  if (rows.length) {
    content = make("ul", { className: "near" }, ...rows.map((other) => neighbour(entry, other)));
  } else {
    const text = { loading: "being read from the feature cache …", unavailable: `left out: ${message}` };
    content = make("p", { className: "muted small", textContent: text[status] ?? "left out: this image has no cached features" });
  }
  return make("section", {}, make("h3", { textContent: "Nearest images" }), content);
}

function neighbour(entry, other) {
  const name = nameOf(other.label);
  const kind = other.label === entry.given ? "given" : other.label === (entry.suggested >= 0 ? entry.suggested : entry.predicted) ? "suggested" : "other";
  const doubt = other.decided ? "decided" : other.issue ? "flagged too" : "";
  const note = [other.same ? "a copy" : "", doubt].filter(Boolean).join(", ");
  const open = make("button", {
    type: "button", title: `similarity ${other.similarity}${note ? `, ${note}` : ""}`,
    attributes: { "aria-label": `${name}${note ? `, ${note}` : ""}; open` },
  }, picture(other.row, { version: about.version }), make("span", { className: `tag tag-${kind}`, textContent: name + (other.issue && !other.decided ? " ?" : "") }));
  open.addEventListener("click", () => emit("open", other.row));
  return make("li", {}, open);
}

function facts(detail) {
  const list = [
    ["File", detail.path],
    ["Id", detail.id === detail.path ? null : detail.id],
    ["Label score", score(detail.label_score)],
    ["P(label right)", detail.p_clean === null ? null : percent(detail.p_clean)],
    ["P(given)", detail.p_given === null ? null : percent(detail.p_given)],
    ["P(predicted)", detail.p_predicted === null ? null : `${percent(detail.p_predicted)}, ${nameOf(detail.predicted)}`],
    ["Proposal", detail.action],
    ["Error", detail.error || null],
  ].filter(([, value]) => value !== null);
  return make("details", { className: "more" }, make("summary", { textContent: shortName(detail.path) }),
    make("dl", { className: "facts" }, ...list.map(([name, value]) =>
      make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value })))));
}

const shortName = (path) => (path.length > 48 ? `…${path.slice(-47)}` : path);

function past(entry, detail) {
  if (!detail.history.length) return null;
  const items = detail.history.map((one) => {
    const what = one.undo ? "taken back" : one.decision.action === "relabel" ? one.decision.label : one.decision.action;
    const time = one.time ? new Date(one.time).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "";
    return make("li", {}, make("strong", { textContent: what }), ` ${one.by ?? ""} ${time}`);
  });
  const back = make("button", { type: "button", className: "quiet", textContent: "Take the decision back" });
  back.addEventListener("click", () => decide([entry], "undo"));
  return make("details", { className: "more" }, make("summary", { textContent: `Decided ${items.length === 1 ? "once" : `${items.length} times`} so far` }),
    make("ul", { className: "past" }, ...items), shown(entry) ? back : null);
}
