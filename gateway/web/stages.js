// The stages as a line: which is present, which are behind, which were not needed.

import {h} from "./dom.js";

const STAGES = [
  ["survey", "Survey"],
  ["ecm", "Elliptic curves"],
  ["sieve", "Sieve"],
  ["solve", "Linear algebra"],
  ["prove", "Proof"],
];

export const nameOf = stage => STAGES.find(([key]) => key === stage)?.[1] ?? stage;

/** Add the stages that a running task is in, or shows that it has been through, to those seen before. */
export function notice({done, status, progress}, seen) {
  if (done) return;
  seen.add(progress.stage);
  if (status !== "queued") seen.add("survey");
  if (progress.curves || Object.keys(progress.effort).length) seen.add("ecm");
  if (progress.sieve || progress.matrix) seen.add("sieve");
  if (progress.matrix) seen.add("solve");
}

/**
 * The line as a list. An answer does not tell how it was found: a page that saw nothing of the work shows
 * no line.
 */
export function stageLine(task, seen) {
  if (task.done && !seen.size) return null;
  const now = task.done ? null : task.progress.stage;
  const passed = new Set(seen);
  if (task.done) passed.add("survey");
  if (task.status === "succeeded" && task.factors.every(({certainty}) => certainty !== "probable")) passed.add("prove");
  return h("ol", {class: "stages", "aria-label": "Stages"}, STAGES.map(([key, name]) => {
    const state = key === now ? "live" : passed.has(key) ? "passed" : task.done ? "unneeded" : "ahead";
    const says = {live: "under way", passed: "done", unneeded: "not needed", ahead: "to come"}[state];
    return h("li", {class: state, "aria-current": state === "live" ? "step" : null},
      h("span", {class: "stage-name"}, name), h("span", {class: "unseen"}, `: ${says}`));
  }));
}
