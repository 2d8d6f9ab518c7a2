// The view of one task: its progress while it runs, its factors when it is done.

import {ApiError, call, submit} from "./api.js";
import {announce, byId, copyButton, h, setText} from "./dom.js";
import {FORMATS} from "./formats.js";
import {deliver, follow} from "./live.js";
import {digits, factorTable, product, typeset} from "./maths.js";
import * as myTasks from "./mytasks.js";
import {History, facts, figures, panel} from "./panels.js";
import {nameOf, noteStages, stageLine} from "./stages.js";
import {digitsOf, duration, moment, plural, secondsSince, statusName} from "./text.js";

const MAX_TITLE = 150; // digits; of a longer number the title shows the first and the last ones
const ENDS = 24;

let unfollow = () => {};
let clock = 0;

/** Stop following the task. */
export function exit() {
  unfollow();
  clearInterval(clock);
}

/** Show a task by its id and keep it up to date. */
export function enter(id) {
  const view = byId("task");
  const parts = frame(id);
  const seen = new Set(), history = new History(id);
  let task = null, drawn = {};
  view.replaceChildren(h("h1", {id: "task-title"}, "Task"), h("p", {class: "muted"}, "Loading…"));
  document.title = "Task · Factorline";

  /** Redraw a part only if what it shows has changed, so that a text selection elsewhere survives. */
  const part = (name, key, draw) => {
    const text = JSON.stringify(key);
    if (drawn[name] === text) return;
    drawn[name] = text;
    parts[name].replaceChildren(...[draw()].flat().filter(child => child !== null && child !== undefined));
  };

  function show(fresh) {
    const before = task;
    task = fresh;
    if (!before) view.replaceChildren(...Object.values(parts));
    const {progress} = task, stage = progress.stage;
    noteStages(task, seen);
    if (progress.sieve && !task.done) history.add(progress.sieve);
    view.classList.toggle("done", task.done);
    part("title", task.expression, () => title(task));
    part("state", [task.status, task.reason, task.waiting, isPrime(task)], () => state(task));
    part("stages", [task.status, stage, [...seen]], () => stageLine(task, seen));
    part("answer", [task.factors, task.composites, task.done], () => answer(task));
    part("panel", task.done ? null : progress, () => panel(task, stage, history, parts.panel.clientWidth || 640));
    part("facts", [progress, task.ended_at], () => figures([elapsed(task), ...facts(task)]));
    part("actions", [task.done, task.status, task.number], () => actions(task));
    part("table", [task.factors, task.composites], () => table(task));
    document.title = `${task.done ? "✓ " : ""}${task.expression.slice(0, 40)} · Factorline`;
    announceChange(before, task, stage);
  }

  function tick() {
    if (task && !task.done) setText(parts.facts.querySelector(".elapsed"), duration(secondsSince(task.created_at)));
  }

  function fail(problem) {
    exit();
    view.replaceChildren(h("h1", {id: "task-title"}, problem.status === 404 ? "Task not found" : problem.title),
      h("p", {}, problem.status === 404 ? "There is no task at this link. Check the link, or submit the number again." : problem.detail),
      h("p", {class: "actions"}, h("a", {class: "button", href: "#/"}, "Factor a number")));
  }

  unfollow = follow(id, {show, fail});
  clock = setInterval(tick, 1000);
  if (!task) call(`/tasks/${id}`).then(deliver, error => { // sooner than over the WebSocket, and also where there is none
    if (!task && error instanceof ApiError && error.problem.status === 404) fail(error.problem);
  });
}

const frame = () => ({
  title: h("header", {class: "task-head"}),
  state: h("div", {class: "task-state"}),
  stages: h("div", {class: "task-stages"}),
  answer: h("div", {}),
  panel: h("div", {}),
  facts: h("div", {}),
  actions: h("div", {class: "actions"}),
  table: h("div", {class: "task-table"}),
});

const isPrime = ({status, factors}) => status === "succeeded" && factors.length === 1
  && factors[0].exponent === 1 && factors[0].certainty !== "unit";

function title(task) {
  const {expression, number} = task;
  const isInteger = /^-?\d+$/.test(expression);
  const whole = !isInteger || expression.length <= MAX_TITLE;
  return [
    h("h1", {id: "task-title", class: expression.length > 50 ? "small" : null},
      whole ? typeset(expression) : [digits(expression.slice(0, ENDS)), " … ", digits(expression.slice(-ENDS))]),
    h("p", {class: "meta muted"}, h("span", {}, plural(digitsOf(number), "digit")),
      h("span", {}, "submitted ", h("time", {datetime: task.created_at}, moment(task.created_at))),
      copyButton("Copy number", () => number), copyButton("Copy link", () => location.href)),
    isInteger && whole ? null : h("details", {class: "value"}, h("summary", {}, "All digits"),
      h("p", {class: "long-number", tabindex: "0", role: "group", "aria-label": "All digits"}, digits(number))),
  ];
}

function state(task) {
  const word = isPrime(task) ? "Prime" : statusName(task.status);
  return [h("span", {class: `state ${task.status}`}, word),
    task.waiting ? h("span", {class: "reason"}, task.waiting.detail) : null,
    task.reason && task.status !== "cancelled" ? h("span", {class: "reason"}, task.reason) : null]; // "Cancelled" says it all
}

function answer(task) {
  const shown = product(task);
  if (!shown) return null;
  const [whole] = task.composites;
  const nothing = task.composites.length === 1 && !task.factors.length && whole.exponent === 1;
  if (nothing && !task.done) return h("p", {class: "muted so-far"}, "No factors found yet.");
  const prime = isPrime(task) && ` is ${task.factors[0].certainty === "proven" ? "prime" : "a probable prime"}`;
  return h("figure", {class: "answer-box"},
    h("figcaption", {class: "muted"}, task.done ? task.status === "succeeded" ? "Factorization" : "Known so far" : "Found so far"),
    h("div", {class: `equation ${shown.textContent.length > 160 ? "small" : ""}`, tabindex: "0", role: "group", "aria-label": "Factorization"},
      prime ? null : h("span", {class: "equals"}, "="), shown, prime ? h("span", {class: "maths"}, prime) : null));
}

const elapsed = task => task.done ? null
  : [h("span", {class: "elapsed"}, duration(secondsSince(task.created_at))), "elapsed"];

function table(task) {
  if (!task.factors.length && task.composites.length <= 1 && !task.done) return null;
  return task.factors.length + task.composites.length ? factorTable(task, copyButton) : null;
}

function actions(task) {
  const failure = h("span", {class: "bad", role: "alert"});
  const act = (label, work, kind) => h("button", {type: "button", class: kind, onclick: async event => {
    event.currentTarget.disabled = true;
    setText(failure, "");
    try {
      await work();
    } catch (error) {
      setText(failure, error.message);
    }
    event.target.disabled = false;
  }}, label);
  if (!task.done)
    return [act("Cancel", async () => deliver(await call(`/tasks/${task.task_id}`, {method: "DELETE"})), "secondary"), failure];
  const copies = task.factors.length || task.composites.length
    ? Object.entries(FORMATS).map(([name, make]) => copyButton(name, () => make(task), `Copy as ${name}`)) : [];
  const again = task.status === "succeeded" ? null : act(task.status === "cancelled" ? "Resume" : "Try again", async () => {
    const fresh = await submit(task.expression);
    myTasks.remember(fresh);
    location.hash = `#/task/${fresh.task_id}`;
  }, "secondary");
  return [copies.length ? h("span", {class: "copies"}, h("span", {class: "muted"}, "Copy as"), copies) : null, again, failure];
}

/** Tell people who use a screen reader what has changed. */
function announceChange(before, task, stage) {
  if (!before && !task.done) return;
  if (task.done && !before?.done) {
    const found = task.factors.map(({prime, exponent}) => exponent > 1 ? `${prime} to the power ${exponent}` : prime);
    announce(isPrime(task) ? "The number is prime." : `${statusName(task.status)}. ${found.join(" times ").slice(0, 300)}`);
  } else if (before && before.progress.stage !== stage && nameOf(stage) !== stage) announce(`Stage: ${nameOf(stage)}`);
}
