// A line over time as SVG: what there is, what is needed, and where the present pace leads.

import {s} from "./dom.js";
import {count, duration} from "./text.js";

const HEIGHT = 220;
const LEFT = 8, RIGHT = 8, TOP = 26, BOTTOM = 26;
const LEAST_SPAN_S = 10;

/**
 * Return the chart.
 *
 * points: [seconds, value], ascending in time. need: the value to reach, or null. reach: the time at
 * which it will be, or null. width: in CSS pixels. label: what a screen reader says instead.
 */
export function chart({points, need = null, reach = null, width, label}) {
  const first = points[0][0], last = points.at(-1)[0];
  const end = Math.max(reach ?? last, first + LEAST_SPAN_S);
  const top = Math.max(need ?? 0, ...points.map(([, value]) => value), 1) * (need ? 1.02 : 1.1);
  const x = time => LEFT + (width - LEFT - RIGHT) * (time - first) / (end - first);
  const y = value => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
  const path = points.map(([time, value], place) => `${place ? "L" : "M"}${round(x(time))} ${round(y(value))}`).join("");
  const [lastX, lastY] = [x(last), y(points.at(-1)[1])].map(round);
  return s("svg", {class: "chart", role: "img", "aria-label": label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`},
    s("path", {class: "area", d: `${path}L${lastX} ${y(0)}L${round(x(first))} ${y(0)}Z`}),
    s("line", {class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0)}),
    need ? [
      s("line", {class: "need", x1: LEFT, x2: width - RIGHT, y1: y(need), y2: y(need)}),
      s("text", {class: "strong", x: LEFT, y: y(need) - 8}, `needed: ${count(need)}`),
    ] : null,
    need && reach ? s("line", {class: "projection", x1: lastX, y1: lastY, x2: x(reach), y2: y(need)}) : null,
    s("path", {class: "curve", d: path}),
    s("circle", {class: "now", cx: lastX, cy: lastY, r: 4}),
    times(first, end, width).map(([time, anchor]) =>
      s("text", {x: x(time), y: HEIGHT - 8, "text-anchor": anchor}, duration(time - first))));
}

function times(first, end, width) {
  const parts = width < 420 ? 2 : 4;
  return Array.from({length: parts}, (_, place) =>
    [first + (end - first) * (place + 1) / parts, place + 1 === parts ? "end" : "middle"]);
}

const round = value => Math.round(value * 10) / 10;
