// What the present stage is doing: curves with what they have ruled out, relations, the matrix.

import {chart} from "./chart.js";
import {h} from "./dom.js";
import {about, count, duration, plural} from "./text.js";

const MOST_POINTS = 400;
const LEAST_SECONDS = 8; // of observation before a pace is believed
const PACE_SECONDS = 60;

/** Relations over time of one task, as this browser saw them; they survive a reload of the tab. */
export class History {
  constructor(id) {
    this.key = `factorline.relations.${id}`;
    try {
      this.points = JSON.parse(sessionStorage.getItem(this.key)) ?? [];
    } catch {
      this.points = [];
    }
  }

  /** Take what a task says now. Another composite begins another curve. */
  add(sieve) {
    const point = [Date.now() / 1000, sieve.usable, sieve.digits];
    if (this.points.length && (this.points.at(-1)[2] !== sieve.digits || this.points.at(-1)[1] > sieve.usable))
      this.points = [];
    this.points.push(point);
    if (this.points.length > MOST_POINTS) this.points = this.points.filter((_, place) => place % 2 === 0 || place > MOST_POINTS - 50);
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.points));
    } catch {
      // A full storage costs the curve after a reload, nothing else.
    }
  }

  /** Usable relations a second over the last minute; null while that is not known. */
  get pace() {
    const last = this.points.at(-1);
    const from = this.points.find(([time]) => last && time >= last[0] - PACE_SECONDS);
    if (!from || last[0] - from[0] < LEAST_SECONDS || last[1] <= from[1]) return null;
    return (last[1] - from[1]) / (last[0] - from[0]);
  }
}

/** Seconds until the relations suffice: the server's word, else the pace that was seen; else null. */
function remaining({progress}, history) {
  if (progress.eta_seconds !== null) return progress.eta_seconds;
  const pace = history.pace;
  return pace ? Math.max(0, progress.sieve.needed - progress.sieve.usable) / pace : null;
}

/** The panel for a task, or null when there is nothing to tell. */
export function panel(task, stage, history, width) {
  const {progress} = task;
  if (progress.matrix && stage === "solve") return matrixPanel(progress.matrix);
  if (progress.sieve && stage === "sieve") return sievePanel(task, history, width);
  if (stage === "ecm") return curvesPanel(progress);
  return null;
}

function sievePanel(task, history, width) {
  const {sieve, curves} = task.progress;
  const left = remaining(task, history);
  const points = history.points.map(([time, usable]) => [time, usable]);
  const share = Math.floor(100 * sieve.usable / Math.max(1, sieve.needed));
  return h("section", {class: "panel"},
    head("Collecting relations", `quadratic sieve on a composite of ${plural(sieve.digits, "digit")}`
      + (curves?.ruled_out_digits ? `; factors of up to ${curves.ruled_out_digits} are ruled out` : "")),
    figures([
      [`${count(sieve.usable)}`, `usable of ${count(sieve.needed)} needed`],
      [count(sieve.full), "full"],
      [count(sieve.partial), "partial"],
      sieve.rate ? [count(sieve.rate), "relations a second"] : null,
      [left === null ? "–" : about(left), left === null ? "no honest estimate yet" : "left at the present pace"],
    ]),
    chart({points, need: sieve.needed, reach: left === null ? null : points.at(-1)[0] + left, width,
      label: `${count(sieve.usable)} of ${count(sieve.needed)} relations, ${share} per cent`}));
}

function curvesPanel({curves, effort}) {
  if (!curves) return effortPanel(effort);
  const reach = Math.max(Math.ceil(curves.digits / 2), curves.ruled_out_digits);
  return h("section", {class: "panel"},
    head("Running elliptic curves", `on a composite of ${plural(curves.digits, "digit")}`),
    figures([
      [count(curves.done), `of ${plural(curves.wanted, "curve")} done`],
      [curves.ruled_out_digits ? `≤ ${curves.ruled_out_digits}` : "–",
        curves.ruled_out_digits ? "digits: a factor so small is unlikely now" : "nothing is ruled out yet"],
    ]),
    scale(curves.ruled_out_digits, reach));
}

/** Factor sizes from 1 digit to half of the composite's, with what the curves have ruled out. */
function scale(ruledOut, reach) {
  const marks = Array.from({length: Math.floor(reach / 10)}, (_, place) => 10 * (place + 1));
  const shade = h("span", {class: "shade"});
  shade.style.width = `${100 * ruledOut / reach}%`;
  return h("div", {class: "scale", role: "img",
    "aria-label": `Factors of up to ${ruledOut} of at most ${reach} digits are ruled out`},
    h("div", {class: "ruler"}, shade),
    h("div", {class: "marks"}, marks.map(mark => {
      const label = h("span", {}, String(mark));
      label.style.left = `${100 * mark / reach}%`;
      return label;
    })),
    h("p", {class: "muted"}, "digits of a factor: what is filled, the curves have ruled out"));
}

function effortPanel(effort) {
  const runs = Object.entries(effort);
  if (!runs.length) return null;
  return h("section", {class: "panel"}, head("Running elliptic curves", "what was tried on the hardest part"),
    h("table", {class: "plain"}, h("tbody", {}, runs.map(([key, done]) => {
      const [method, b1] = key.split(" B1=");
      const name = {ecm: "elliptic curves", "p-1": "p − 1", "p+1": "p + 1"}[method] ?? method;
      return h("tr", {}, h("th", {scope: "row"}, name), h("td", {}, `B1 = ${count(Number(b1))}`),
        h("td", {class: "number"}, count(done)));
    }))));
}

function matrixPanel({stage, rows, done, of}) {
  return h("section", {class: "panel"},
    head("Linear algebra", `now: ${stage}, ${plural(rows, "row")}`),
    bar(stage, done, of));
}

const head = (title, says) => h("div", {class: "panel-head"}, h("h2", {}, title), h("p", {class: "muted"}, says));

/** Large figures with a word under each. */
export const figures = list => h("dl", {class: "figures"}, list.filter(Boolean).map(([value, name]) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, value))));

function bar(name, done, of) {
  return h("progress", {"aria-label": `${name}: ${count(done)} of ${count(of)}`, max: Math.max(1, of), value: Math.min(done, of)});
}

/** What has been spent on a task, a figure each. */
export function facts(task) {
  const {progress} = task;
  const wall = task.ended_at ? duration((Date.parse(task.ended_at) - Date.parse(task.created_at)) / 1000) : null;
  const settled = progress.units_issued - progress.units_outstanding;
  return [
    wall ? [wall, "time"] : null,
    progress.cpu_seconds ? [duration(progress.cpu_seconds), !task.done && progress.estimate_cpu_seconds
      ? `CPU time, of ${about(progress.estimate_cpu_seconds)} expected` : "CPU time"] : null,
    !task.done && progress.workers ? [count(progress.workers), progress.workers === 1 ? "worker on it" : "workers on it"] : null,
    progress.units_issued ? [count(settled), task.done ? (settled === 1 ? "work unit" : "work units") : `work units done, ${count(progress.units_outstanding)} under way`] : null,
  ].filter(Boolean);
}
