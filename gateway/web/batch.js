// Many numbers at once, one per line; their results as a table and as a CSV file.

import {ApiError, call} from "./api.js";
import {byId, h, setText} from "./dom.js";
import {csv} from "./formats.js";
import {normalized} from "./home.js";
import {follow} from "./live.js";
import {brief, product} from "./maths.js";
import {load, save} from "./storage.js";
import {plural, statusName} from "./text.js";

const KEY = "factorline.batch";
const MAX_PER_REQUEST = 500;

/** The lines of the last batch, as they are stored: {input, task_id?, problem?}. */
let rows = [];
let tasks = new Map(); // by task id
let unfollows = [];

const lines = () => byId("numbers").value.split("\n").map(normalized).filter(Boolean);

export function setUp() {
  byId("numbers").addEventListener("input", showCount);
  byId("batch-form").addEventListener("submit", send);
  rows = load("localStorage", KEY, []);
  showCount();
}

/** Show the last batch, and follow it while the view is open. */
export function enter() {
  draw();
}

export function exit() {
  for (const unfollow of unfollows) unfollow();
  unfollows = [];
}

const showCount = () => setText(byId("batch-count"), lines().length ? plural(lines().length, "number") : "");

async function send(event) {
  event.preventDefault();
  const inputs = lines();
  if (!inputs.length) return byId("numbers").focus();
  const button = byId("batch-form").querySelector("button");
  button.disabled = true;
  setText(byId("batch-error"), "");
  const fresh = [];
  try {
    for (let at = 0; at < inputs.length; at += MAX_PER_REQUEST) {
      const part = inputs.slice(at, at + MAX_PER_REQUEST);
      const {items} = await call("/tasks/batch", {method: "POST", body: {numbers: part}});
      fresh.push(...items.map(({index, task, problem}) => ({input: part[index], task_id: task?.task_id, problem})));
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    setText(byId("batch-error"), fresh.length ? `${error.message} The first ${fresh.length} were accepted.` : error.message);
  }
  button.disabled = false;
  if (!fresh.length) return;
  rows = fresh;
  save("localStorage", KEY, rows);
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
      h("caption", {class: "visually-hidden"}, "Results of the batch"),
      h("thead", {}, h("tr", {}, ["Number", "Factors", "Status"].map(name => h("th", {scope: "col"}, name)))), body)));
  const refresh = () => {
    const ended = rows.filter(({task_id, problem}) => problem || tasks.get(task_id)?.done).length;
    setText(summary, ended === rows.length ? `All ${plural(rows.length, "number")} done` : `${ended} of ${plural(rows.length, "number")} done`);
    bar.value = ended;
  };
  rows.forEach(({task_id}, place) => {
    if (task_id) unfollows.push(follow(task_id, {
      show: task => { tasks.set(task_id, task); update(body.rows[place], task); refresh(); },
      fail: problem => { setText(body.rows[place].cells[2], problem.title); },
    }));
  });
  refresh();
}

function row({input, task_id, problem}) {
  return h("tr", {}, h("td", {}, task_id ? h("a", {href: `#/task/${task_id}`}, brief(input)) : h("span", {class: "maths"}, input)),
    h("td", {}, problem ? h("span", {class: "bad"}, problem.detail) : null),
    h("td", {}, h("span", {class: `state ${problem ? "failed" : "queued"}`}, problem ? "Refused" : "…")));
}

function update({cells: [, answer, status]}, task) {
  answer.replaceChildren(product(task) ?? "");
  status.firstChild.className = `state ${task.status}`;
  setText(status.firstChild, statusName(task.status));
}

function download() {
  const text = csv(rows.map(({input, task_id, problem}) => ({input, problem, task: tasks.get(task_id)})));
  const url = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  h("a", {href: url, download: "factorline.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
