// The list of tasks submitted from this browser, kept in its storage so that a reload loses nothing.

import {byId, h, setText} from "./dom.js";
import {follow} from "./live.js";
import {brief, product} from "./maths.js";
import {load, save} from "./storage.js";
import {moment, plural, statusName} from "./text.js";

const KEY = "factorline.tasks";
const MAX_TASKS = 100;
const MAX_FACTORS = 160; // characters in a row

/** Task id → {item, status, answer, unfollow}. */
const rows = new Map();

const stored = () => load("localStorage", KEY, []);
const store = tasks => save("localStorage", KEY, tasks);

/** Put a task at the head of the list. */
export function remember(task) {
  store([summary(task), ...stored().filter(old => old.task_id !== task.task_id)].slice(0, MAX_TASKS));
  draw();
}

/** What a row shows of a task and nothing more, so that a hundred tasks of a thousand digits fit. */
function summary({task_id, expression, status, done, factors, composites, result, created_at}) {
  const small = factors.reduce((sum, {prime}) => sum + prime.length, 0) <= MAX_FACTORS;
  return {task_id, expression, status, done, created_at, result: factors.length ? null : result,
    factors: small ? factors : [], composites: small && factors.length ? composites.map(shown => ({...shown, value: null})) : [],
    many: small ? 0 : factors.length};
}

function update(task) {
  const tasks = stored();
  const place = tasks.findIndex(old => old.task_id === task.task_id);
  if (place < 0) return;
  tasks[place] = summary(task);
  store(tasks);
  show(tasks[place]);
}

/** Draw the list and follow the tasks in it that are not done. */
export function draw() {
  const tasks = stored();
  byId("my-tasks").hidden = !tasks.length;
  const ids = new Set(tasks.map(task => task.task_id));
  for (const [id, row] of rows) if (!ids.has(id)) { row.unfollow(); row.item.remove(); rows.delete(id); }
  for (const task of tasks) show(task);
  byId("tasks").replaceChildren(...tasks.map(task => rows.get(task.task_id).item));
}

function show(task) {
  const id = task.task_id;
  let row = rows.get(id);
  if (!row) {
    const status = h("span", {class: "state"});
    const answer = h("span", {class: "answer"});
    const link = h("a", {href: `#/task/${id}`}, brief(task.expression));
    row = {item: h("li", {}, link, answer, h("span", {class: "when"}, status, h("time", {datetime: task.created_at}, moment(task.created_at)))),
      status, answer, unfollow: () => {}};
    rows.set(id, row);
    if (!task.done) row.unfollow = follow(id, {show: update, fail: () => setText(status, "Not found")});
  }
  row.status.className = `state ${task.status}`;
  setText(row.status, statusName(task.status));
  row.answer.replaceChildren(product(task) ?? (task.many ? plural(task.many, "factor") : ""));
}

/** Draw the list and let the user clear it. The tasks are only forgotten here: they run on, and their links work. */
export function setUp() {
  byId("clear-tasks").addEventListener("click", () => { store([]); draw(); byId("number").focus(); });
  addEventListener("storage", event => { if (event.key === KEY) draw(); }); // another tab
  draw();
}
