// A line chart over time, as SVG: the values so far, the value needed, and a projection to it.

import {s} from "./dom.js";
import {count, duration} from "./text.js";

const HEIGHT = 220;
const LEFT = 8, RIGHT = 8, TOP = 26, BOTTOM = 26;
const MIN_SPAN_S = 10;

/**
 * Return the chart.
 *
 * points: [seconds, value], ascending in time. need: the value to reach, or null. reach: the time in seconds
 * at which it is expected, or null. width, height: CSS pixels. label: the text for screen readers.
 */
export function chart({points, need = null, reach = null, width, height = HEIGHT, label}) {
  const first = points[0][0], last = points.at(-1)[0];
  const end = Math.max(reach ?? last, first + MIN_SPAN_S);
  const peak = Math.max(...points.map(([, value]) => value));
  const top = need ? Math.max(need, peak) * 1.02 : peak * 1.05 || 1;
  const x = time => LEFT + (width - LEFT - RIGHT) * (time - first) / (end - first);
  const y = value => height - BOTTOM - (height - TOP - BOTTOM) * value / top;
  const path = points.map(([time, value], place) => `${place ? "L" : "M"}${round(x(time))} ${round(y(value))}`).join("");
  const [lastX, lastY] = [x(last), y(points.at(-1)[1])].map(round);
  return s("svg", {class: "chart", role: "img", "aria-label": label, width, height, viewBox: `0 0 ${width} ${height}`},
    s("path", {class: "area", d: `${path}L${lastX} ${y(0)}L${round(x(first))} ${y(0)}Z`}),
    s("line", {class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0)}),
    need ? [
      s("line", {class: "need", x1: LEFT, x2: width - RIGHT, y1: y(need), y2: y(need)}),
      s("text", {class: "strong", x: LEFT, y: y(need) - 8}, `needed: ${count(need)}`),
    ] : s("text", {class: "strong", x: LEFT, y: TOP - 10}, `peak ${peak.toFixed(1)}`),
    need && reach ? s("line", {class: "projection", x1: lastX, y1: lastY, x2: x(reach), y2: y(need)}) : null,
    s("path", {class: "curve", d: path}),
    s("circle", {class: "now", cx: lastX, cy: lastY, r: 4}),
    ticks(end - first, width).map(time =>
      s("text", {x: x(first + time), y: height - 8, "text-anchor": "middle"}, duration(time))));
}

const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400];
const LABEL_WIDTH = 110; // CSS pixels for the label of one tick
const LAST_LABEL = 0.96; // of the width: a label further right would be cut off

/** Return the times of the ticks, in seconds: round ones, and no more than there is room for. */
function ticks(span, width) {
  const most = Math.max(1, Math.floor(width / LABEL_WIDTH));
  const step = STEPS.find(size => span / size <= most) ?? Math.ceil(span / most / 86400) * 86400;
  return Array.from({length: Math.floor(span * LAST_LABEL / step)}, (_, place) => step * (place + 1));
}

const round = value => Math.round(value * 10) / 10;
