// Many numbers at once, a line each; what becomes of them as a table and as a file.

import {Refused, call} from "./api.js";
import {csv} from "./copies.js";
import {byId, h, say} from "./dom.js";
import {cleaned} from "./home.js";
import {follow} from "./live.js";
import {brief, product} from "./maths.js";
import {read, write} from "./mine.js";
import {plural} from "./text.js";

const KEY = "factorline.batch";
const MOST_AT_ONCE = 500;

/** {input, task_id?, problem?} of the last batch, as it is kept; `tasks` and `cells` by task id. */
let rows = [];
let tasks = new Map();
let leaves = [];

const lines = () => byId("numbers").value.split("\n").map(cleaned).filter(Boolean);

export function setUp() {
  byId("numbers").addEventListener("input", tally);
  byId("batch-form").addEventListener("submit", send);
  rows = read(KEY, []);
  tally();
}

/** Show the last batch, and follow it while the view is open. */
export function enter() {
  draw();
}

export function exit() {
  for (const leave of leaves) leave();
  leaves = [];
}

const tally = () => say(byId("batch-count"), lines().length ? plural(lines().length, "number") : "");

async function send(event) {
  event.preventDefault();
  const inputs = lines();
  if (!inputs.length) return byId("numbers").focus();
  const button = byId("batch-form").querySelector("button");
  button.disabled = true;
  say(byId("batch-error"), "");
  const fresh = [];
  try {
    for (let at = 0; at < inputs.length; at += MOST_AT_ONCE) {
      const part = inputs.slice(at, at + MOST_AT_ONCE);
      const {items} = await call("/tasks/batch", {method: "POST", body: {numbers: part}});
      fresh.push(...items.map(({index, task, problem}) => ({input: part[index], task_id: task?.task_id, problem})));
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(byId("batch-error"), fresh.length ? `${error.message} The first ${fresh.length} were accepted.` : error.message);
  }
  button.disabled = false;
  if (!fresh.length) return;
  rows = fresh;
  write(KEY, rows);
  draw();
  byId("batch-summary").focus();
}

function draw() {
  exit();
  tasks = new Map();
  const result = byId("batch-result");
  if (!rows.length) return result.replaceChildren();
  const summary = h("h2", {id: "batch-summary", tabindex: "-1"});
  const bar = h("progress", {"aria-label": "Numbers that are done", max: rows.length});
  const body = h("tbody", {}, rows.map(row));
  result.replaceChildren(
    h("div", {class: "row-head"}, summary,
      h("button", {class: "secondary", type: "button", onclick: download}, "Download CSV")),
    bar,
    h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Results"}, h("table", {class: "results"},
      h("caption", {class: "unseen"}, "Results of the batch"),
      h("thead", {}, h("tr", {}, ["Number", "Factors", "Status"].map(name => h("th", {scope: "col"}, name)))), body)));
  const refresh = () => {
    const ended = rows.filter(({task_id, problem}) => problem || tasks.get(task_id)?.done).length;
    say(summary, ended === rows.length ? `All ${plural(rows.length, "number")} done` : `${ended} of ${plural(rows.length, "number")} done`);
    bar.value = ended;
  };
  rows.forEach(({task_id}, place) => {
    if (task_id) leaves.push(follow(task_id, {
      show: task => { tasks.set(task_id, task); update(body.rows[place], task); refresh(); },
      fail: problem => { say(body.rows[place].cells[2], problem.title); },
    }));
  });
  refresh();
}

function row({input, task_id, problem}) {
  return h("tr", {}, h("td", {}, task_id ? h("a", {href: `#/task/${task_id}`}, brief(input)) : h("span", {class: "maths"}, input)),
    h("td", {}, problem ? h("span", {class: "bad"}, problem.detail) : null),
    h("td", {}, h("span", {class: `state ${problem ? "failed" : "queued"}`}, problem ? "refused" : "…")));
}

function update({cells: [, answer, status]}, task) {
  answer.replaceChildren(product(task) ?? "");
  status.firstChild.className = `state ${task.status}`;
  say(status.firstChild, task.status);
}

function download() {
  const text = csv(rows.map(({input, task_id, problem}) => ({input, problem, task: tasks.get(task_id)})));
  const address = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  h("a", {href: address, download: "factorline.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
