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

/** Return which stages a task shows that it has been through. */
function behind(task, seen) {
  const {progress, factors} = task;
  const passed = new Set(seen);
  if (task.status !== "queued" || task.done) passed.add("survey");
  if (progress.curves || Object.keys(progress.effort).length) passed.add("ecm");
  if (progress.sieve || progress.matrix) passed.add("sieve");
  if (progress.matrix) passed.add("solve");
  if (task.status === "succeeded" && factors.every(factor => factor.certainty !== "probable"))
    passed.add("prove");
  return passed;
}

/** The line as a list. `seen` holds the stages that this page saw at work. */
export function stageLine(task, seen) {
  const now = task.done ? null : task.progress.stage;
  const passed = behind(task, seen);
  return h("ol", {class: "stages", "aria-label": "Stages"}, STAGES.map(([key, name]) => {
    const state = key === now ? "live" : passed.has(key) ? "passed" : task.done ? "unneeded" : "ahead";
    const says = {live: "under way", passed: "done", unneeded: "not needed", ahead: "to come"}[state];
    return h("li", {class: state, "aria-current": state === "live" ? "step" : null},
      h("span", {class: "stage-name"}, name), h("span", {class: "unseen"}, `: ${says}`));
  }));
}
