// What the current stage is doing: elliptic curves and the factors they make unlikely, relations, the matrix.

import {chart} from "./chart.js";
import {h} from "./dom.js";
import {load, save} from "./storage.js";
import {about, count, duration, plural} from "./text.js";

const MAX_POINTS = 400;
const MIN_SECONDS = 8; // of observation before a rate is believed
const RATE_SECONDS = 60;

/** The relations of one task over time, as this tab saw them; a reload keeps them. */
export class History {
  constructor(id) {
    this.key = `factorline.relations.${id}`;
    this.points = load("sessionStorage", this.key, []);
  }

  /** Add the state of a sieve now. A sieve of another composite starts the history anew. */
  add(sieve) {
    const point = [Date.now() / 1000, sieve.usable, sieve.digits];
    if (this.points.length && (this.points.at(-1)[2] !== sieve.digits || this.points.at(-1)[1] > sieve.usable))
      this.points = [];
    this.points.push(point);
    if (this.points.length > MAX_POINTS) this.points = this.points.filter((_, place) => place % 2 === 0 || place > MAX_POINTS - 50);
    save("sessionStorage", this.key, this.points);
  }

  /** Usable relations per second over the last minute; null while that is not known. */
  get rate() {
    const last = this.points.at(-1);
    const from = this.points.find(([time]) => last && time >= last[0] - RATE_SECONDS);
    if (!from || last[0] - from[0] < MIN_SECONDS || last[1] <= from[1]) return null;
    return (last[1] - from[1]) / (last[0] - from[0]);
  }
}

/** Seconds until there are enough relations: the server's estimate, else from the rate seen here, else null. */
function remaining({progress}, history) {
  if (progress.eta_seconds !== null) return progress.eta_seconds;
  const rate = history.rate;
  return rate ? Math.max(0, progress.sieve.needed - progress.sieve.usable) / rate : null;
}

/** Return the panel of a task's current stage, or null if that has nothing to show. */
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
      + (curves?.ruled_out_digits ? `; factors of up to ${plural(curves.ruled_out_digits, "digit")} are unlikely` : "")),
    figures([
      [`${count(sieve.usable)}`, `usable of ${count(sieve.needed)} needed`],
      [count(sieve.full), "full"],
      [count(sieve.partial), "partial"],
      sieve.rate ? [count(sieve.rate), "found per second"] : null,
      [left === null ? "–" : about(left), left === null ? "no estimate yet" : "left at the current rate"],
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
      curves.ruled_out_digits
        ? [plural(curves.ruled_out_digits, "digit"), "factors up to this size are unlikely now"]
        : ["–", "no size of factors is unlikely yet"],
    ]),
    scale(curves.ruled_out_digits, reach));
}

/** A scale of factor sizes up to half of the composite's digits, filled as far as the curves have searched. */
function scale(ruledOut, reach) {
  const marks = Array.from({length: Math.floor(reach / 10)}, (_, place) => 10 * (place + 1));
  const shade = h("span", {class: "shade"});
  shade.style.width = `${100 * ruledOut / reach}%`;
  return h("div", {class: "scale", role: "img",
    "aria-label": `Factors of up to ${plural(ruledOut, "digit")} are unlikely now; the smallest has at most ${reach}`},
    h("div", {class: "ruler"}, shade),
    h("div", {class: "marks"}, marks.map(mark => {
      const label = h("span", {}, String(mark));
      label.style.left = `${100 * mark / reach}%`;
      return label;
    })),
    h("p", {class: "muted"}, "Digits of the smallest factor. The filled part is unlikely after the curves so far."));
}

function effortPanel(effort) {
  const runs = Object.entries(effort);
  if (!runs.length) return null;
  return h("section", {class: "panel"}, head("Running elliptic curves", "curves tried on the hardest part so far"),
    h("table", {class: "plain"}, h("tbody", {}, runs.map(([key, done]) => {
      const [method, b1] = key.split(" B1=");
      const name = {ecm: "elliptic curves", "p-1": "p − 1", "p+1": "p + 1"}[method] ?? method;
      return h("tr", {}, h("th", {scope: "row"}, name), h("td", {}, `B1 = ${count(Number(b1))}`),
        h("td", {class: "number"}, count(done)));
    }))));
}

const MATRIX_STEPS = {verify: "checking the relations", filter: "filtering the relations",
  matrix: "solving the matrix", "square root": "taking square roots"};

function matrixPanel({stage, rows, done, of}) {
  return h("section", {class: "panel"},
    head("Linear algebra", `${MATRIX_STEPS[stage] ?? stage}, ${plural(rows, "row")}`),
    bar(stage, done, of));
}

const head = (title, subtitle) => h("div", {class: "panel-head"}, h("h2", {}, title), h("p", {class: "muted"}, subtitle));

/** Large figures, each with its name below: [value, name], null to leave one out. */
export const figures = list => h("dl", {class: "figures"}, list.filter(Boolean).map(([value, name]) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, value))));

function bar(name, done, of) {
  return h("progress", {"aria-label": `${name}: ${count(done)} of ${count(of)}`, max: Math.max(1, of), value: Math.min(done, of)});
}

/** Return what a task has cost so far, as figures. */
export function facts(task) {
  const {progress} = task;
  const wall = task.ended_at ? duration((Date.parse(task.ended_at) - Date.parse(task.created_at)) / 1000) : null;
  const settled = progress.units_issued - progress.units_outstanding;
  return [
    wall ? [wall, "total time"] : null,
    progress.cpu_seconds ? [duration(progress.cpu_seconds), !task.done && progress.estimate_cpu_seconds
      ? `CPU time, of ${about(progress.estimate_cpu_seconds)} expected` : "CPU time"] : null,
    !task.done && progress.workers ? [count(progress.workers), progress.workers === 1 ? "worker" : "workers"] : null,
    progress.units_issued ? [count(settled), task.done ? (settled === 1 ? "work unit" : "work units") : `work units done, ${count(progress.units_outstanding)} in progress`] : null,
  ].filter(Boolean);
}
