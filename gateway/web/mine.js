// The tasks that were submitted from this browser: kept in its storage, so that a reload loses nothing.

import {byId, h, say} from "./dom.js";
import {follow} from "./live.js";
import {brief, product} from "./maths.js";
import {moment, plural} from "./text.js";

const KEY = "factorline.tasks";
const MOST = 100;
const LONGEST_FACTORS = 160; // characters of a row

/** Task id → {item, leave, task}. */
const rows = new Map();

const kept = () => read(KEY, []);

/** Return what the storage holds under a key; a browser that keeps nothing is no error. */
export function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keep something; what does not fit is not kept. */
export function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    localStorage.removeItem(key);
  }
}

/** Put a task at the head of the list. */
export function remember(task) {
  write(KEY, [essence(task), ...kept().filter(old => old.task_id !== task.task_id)].slice(0, MOST));
  draw();
}

/** Only what a row shows, so that a hundred tasks of a thousand digits fit. */
function essence({task_id, expression, status, done, factors, composites, result, created_at}) {
  const small = factors.reduce((sum, {prime}) => sum + prime.length, 0) <= LONGEST_FACTORS;
  return {task_id, expression, status, done, created_at, result: factors.length ? null : result,
    factors: small ? factors : [], composites: small && factors.length ? composites.map(shown => ({...shown, value: null})) : [],
    many: small ? 0 : factors.length};
}

function update(task) {
  const tasks = kept();
  const place = tasks.findIndex(old => old.task_id === task.task_id);
  if (place < 0) return;
  tasks[place] = essence(task);
  write(KEY, tasks);
  show(tasks[place]);
}

/** Draw the list and follow what has not ended. */
export function draw() {
  const tasks = kept();
  byId("mine").hidden = !tasks.length;
  const ids = new Set(tasks.map(task => task.task_id));
  for (const [id, row] of rows) if (!ids.has(id)) { row.leave(); row.item.remove(); rows.delete(id); }
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
      status, answer, leave: () => {}};
    rows.set(id, row);
    if (!task.done) row.leave = follow(id, {show: update, fail: () => say(status, "not known here")});
  }
  row.status.className = `state ${task.status}`;
  say(row.status, task.status);
  row.answer.replaceChildren(product(task) ?? (task.many ? plural(task.many, "factor") : ""));
}

/** Let the list be cleared: the tasks go on, and their links lead to them. */
export function setUp() {
  byId("forget").addEventListener("click", () => { write(KEY, []); draw(); byId("number").focus(); });
  addEventListener("storage", event => { if (event.key === KEY) draw(); }); // another tab
  draw();
}
