// The operator's first look: workers, queues, throughput, and links to more.

import {ApiError, call} from "./api.js";
import {chart} from "./chart.js";
import {byId, h} from "./dom.js";
import {apiKey} from "./key.js";
import {brief} from "./maths.js";
import {figures} from "./panels.js";
import {count, duration, moment, plural, secondsSince, statusName} from "./text.js";

const POLL_MS = 2000;
const MAX_POINTS = 150;
const RATE_SECONDS = 10;
const TASKS_SHOWN = 10;
const QUEUES = {"factor.survey": "Surveys", "factor.work": "Work units", "factor.dead": "Dead letters"};

let timer = 0;
let open = false;
/** {at: seconds, done: worker id → units done}; throughput is the difference between two of them. */
let samples = [];
let throughput = [];

export function enter() {
  open = true;
  byId("status").replaceChildren(h("h1", {id: "status-title", tabindex: "-1"}, "Status"), h("div", {id: "status-body"}));
  refresh();
}

export function exit() {
  open = false;
  clearTimeout(timer);
}

async function refresh() {
  try {
    const [now, page] = await Promise.all([call("/status"), call(`/tasks?limit=${TASKS_SHOWN}`).catch(() => null)]);
    if (open) draw(now, page?.tasks ?? null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (open) byId("status-body").replaceChildren(h("p", {class: "bad", role: "alert"}, error.message));
  }
  if (open) timer = setTimeout(refresh, POLL_MS);
}

/** Return the units per second of the last seconds. A worker counts from when it was first seen. */
function measureThroughput(now) {
  if (!now.workers) return null;
  samples.push({at: Date.parse(now.at) / 1000, done: new Map(now.workers.map(worker => [worker.worker_id, worker.units_done]))});
  samples = samples.filter(({at}) => at > samples.at(-1).at - RATE_SECONDS);
  const [first, last] = [samples[0], samples.at(-1)];
  if (last.at - first.at < 1) return null;
  let units = 0;
  for (const [id, done] of last.done) units += Math.max(0, done - (first.done.get(id) ?? done));
  const rate = units / (last.at - first.at);
  throughput = [...throughput, [last.at, rate]].slice(-MAX_POINTS);
  return rate;
}

function draw(now, tasks) {
  const rate = measureThroughput(now);
  const workers = now.workers ?? [];
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const busy = workers.reduce((sum, worker) => sum + Math.min(worker.running, worker.slots), 0);
  byId("status-body").replaceChildren(...[
    figures([
      [now.workers ? count(workers.length) : "?", workers.length === 1 ? "worker" : "workers"],
      [now.workers ? `${busy} of ${slots}` : "?", "slots busy"],
      [rate === null ? "–" : rate.toFixed(1), "units per second"],
      [count(now.sockets), now.sockets === 1 ? "WebSocket on this gateway" : "WebSockets on this gateway"],
    ]),
    throughput.length > 1 ? h("section", {class: "panel"},
      h("div", {class: "panel-head"}, h("h2", {}, "Throughput"), h("p", {class: "muted"}, "units per second, since you opened this view")),
      chart({points: throughput, width: byId("status-body").clientWidth || 640, height: 130,
        label: `Throughput, now ${throughput.at(-1)[1].toFixed(1)} units per second`})) : null,
    queues(now),
    workerTable(now.workers),
    tasks?.length ? taskTable(tasks) : null,
    h("p", {class: "links"},
      now.management_url?.startsWith("http") ? h("a", {href: now.management_url, rel: "noreferrer"}, "RabbitMQ management") : null,
      apiKey() ? null : h("a", {href: now.metrics_url}, "Metrics"), h("a", {href: "/readyz"}, "Readiness")),
  ].filter(Boolean));
}

function queues(now) {
  return h("section", {},
    h("h2", {}, "Queues"),
    now.broker_connected ? null : h("p", {class: "bad"}, "The message broker is not answering. You can still submit numbers; work on them starts when it is back."),
    h("table", {class: "results"},
      h("caption", {class: "visually-hidden"}, "Queues"),
      h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Queue"), h("th", {scope: "col", class: "number"}, "Units waiting"))),
      h("tbody", {}, now.queues.map(({name, waiting}) => h("tr", {}, h("td", {}, QUEUES[name] ?? "", " ", h("code", {class: "muted"}, name)),
        h("td", {class: `number ${name.endsWith("dead") && waiting ? "bad" : ""}`}, waiting === null ? "?" : count(waiting)))))));
}

function workerTable(workers) {
  const head = h("h2", {}, "Workers");
  if (!workers) return h("section", {}, head, h("p", {class: "bad"}, "The database is not answering, so the workers are unknown."));
  if (!workers.length) return h("section", {}, head, h("p", {class: "bad"}, "No worker has sent a heartbeat recently. Start one: until then nothing is factored."));
  const columns = ["Host", "Process", "Busy", "Units done", "Uptime", "Last heartbeat"];
  return h("section", {}, head, h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Workers"},
    h("table", {class: "results"}, h("caption", {class: "visually-hidden"}, "Workers"),
      h("thead", {}, h("tr", {}, columns.map((name, place) => h("th", {scope: "col", class: place ? "number" : null}, name)))),
      h("tbody", {}, workers.map(worker => h("tr", {}, [
        h("td", {title: worker.worker_id}, worker.host),
        ...[String(worker.pid), `${worker.running} of ${worker.slots}`, count(worker.units_done),
          duration(secondsSince(worker.started_at)), `${duration(secondsSince(worker.seen_at))} ago`,
        ].map(text => h("td", {class: "number"}, text))]))))));
}

function taskTable(tasks) {
  return h("section", {}, h("h2", {}, "Newest tasks"), h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Newest tasks"},
    h("table", {class: "results"}, h("caption", {class: "visually-hidden"}, `The newest ${plural(tasks.length, "task")}`),
      h("thead", {}, h("tr", {}, ["Number", "Status", "CPU time", "Submitted"].map((name, place) =>
        h("th", {scope: "col", class: place > 1 ? "number" : null}, name)))),
      h("tbody", {}, tasks.map(task => h("tr", {},
        h("td", {}, h("a", {href: `#/task/${task.task_id}`}, brief(task.expression))),
        h("td", {}, h("span", {class: `state ${task.status}`}, statusName(task.status))),
        h("td", {class: "number"}, duration(task.progress.cpu_seconds)),
        h("td", {class: "number"}, moment(task.created_at))))))));
}
