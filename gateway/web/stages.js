// The stages of the work as a line: which is current, which are done, which were not needed.

import {h} from "./dom.js";

const STAGES = [
  ["survey", "Survey"],
  ["ecm", "Elliptic curves"],
  ["sieve", "Sieve"],
  ["solve", "Linear algebra"],
  ["prove", "Proof"],
];

export const nameOf = stage => STAGES.find(([key]) => key === stage)?.[1] ?? stage;

/** Add to `seen` the stage that a running task is in and those that it has been through. */
export function noteStages({done, status, progress}, seen) {
  if (done) return;
  seen.add(progress.stage);
  if (status !== "queued") seen.add("survey");
  if (progress.curves || Object.keys(progress.effort).length) seen.add("ecm");
  if (progress.sieve || progress.matrix) seen.add("sieve");
  if (progress.matrix) seen.add("solve");
}

/**
 * Return the stages as a list, or null for a finished task that this page did not see running: an answer
 * does not say how it was found.
 */
export function stageLine(task, seen) {
  if (task.done && !seen.size) return null;
  const current = task.done ? null : task.progress.stage;
  const passed = new Set(seen);
  if (task.done) passed.add("survey");
  if (task.status === "succeeded" && task.factors.every(({certainty}) => certainty !== "probable")) passed.add("prove");
  return h("ol", {class: "stages", "aria-label": "Stages"}, STAGES.map(([key, name]) => {
    const state = key === current ? "live" : passed.has(key) ? "passed" : task.done ? "unneeded" : "ahead";
    const description = {live: "in progress", passed: "done", unneeded: "not needed", ahead: "not started"}[state];
    return h("li", {class: state, "aria-current": state === "live" ? "step" : null},
      h("span", {class: "stage-name"}, name), h("span", {class: "visually-hidden"}, `: ${description}`));
  }));
}
