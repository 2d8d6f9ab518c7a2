// The input field: shows what a number is and what it will cost while you type, and submits it.

import {ApiError, call, submit} from "./api.js";
import {byId, h} from "./dom.js";
import {deliver} from "./live.js";
import * as myTasks from "./mytasks.js";
import {about, plural, shortened} from "./text.js";

const DEBOUNCE_MS = 120;
const MAX_PATH = 6000; // characters; the gateway rejects a longer path unread
const EXAMPLES = ["2^128+1", "30!+1", "(10^71-1)/9"];
const KNOWN = {P: "proven prime", PRP: "probable prime", FF: "already factored",
  Unit: "a unit: it has no prime factors", Zero: "zero has no factorization"};

let previewTimer = 0;
let pending = null; // the AbortController of the request in flight

/** Remove the gaps and line breaks from a number that was pasted; in an expression they become one space. */
export const normalized = text => /^\s*-?[\d\s,_\u202f\u2009]+$/.test(text) && /\d/.test(text)
  ? text.replace(/[\s,_\u202f\u2009]/g, "") : text.replace(/\s+/g, " ").trim();

export function setUp() {
  const field = byId("number");
  for (const example of EXAMPLES)
    byId("examples").append(h("button", {class: "quiet", type: "button", onclick: () => {
      field.value = example;
      field.focus();
      preview();
    }}, example));
  field.addEventListener("input", () => { clearTimeout(previewTimer); previewTimer = setTimeout(preview, DEBOUNCE_MS); });
  field.addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    byId("form").requestSubmit();
  });
  byId("form").addEventListener("submit", send);
  preview();
}

/** Show what the gateway knows of the number that was typed. */
async function preview() {
  clearTimeout(previewTimer);
  pending?.abort();
  const text = normalized(byId("number").value);
  grow();
  if (!text) return showHint(["An integer, or an expression with ", h("code", {}, "+ − * / ^ ! ( )")]);
  if (encodeURIComponent(text).length > MAX_PATH) return showHint(["Too long to check while you type."]);
  pending = new AbortController();
  try {
    showHint(described(text, await call(`/numbers/${encodeURIComponent(text)}`, {signal: pending.signal})));
  } catch (error) {
    if (error instanceof ApiError) showError(text, error);
  }
}

function described(text, known) {
  const parts = [h("b", {}, plural(known.digits, "digit"))];
  if (text !== known.number) parts.push(h("span", {class: "maths"}, shortened(known.number)));
  if (KNOWN[known.status]) parts.push(KNOWN[known.status]);
  else parts.push(effort(known.progress.estimate_cpu_seconds));
  return parts;
}

const effort = seconds => seconds === null ? "too large for the sieve: expect only its smaller factors"
  : seconds < 1 ? "under a second of CPU time" : `at most ${about(seconds)} of CPU time`;

function showHint(parts) {
  byId("number").removeAttribute("aria-invalid");
  byId("hint").className = "hint";
  byId("hint").replaceChildren(...parts.flatMap((part, place) => place && parts[0] instanceof Element
    ? [h("span", {class: "dot", "aria-hidden": "true"}, " · "), part] : [part]));
}

/** Show why the text is not accepted, and where in it the fault is. */
function showError(text, {message, problem, isTemporary}) {
  if (problem.status === 401) return showHint(["Enter your API key first."]);
  if (!isTemporary) byId("number").setAttribute("aria-invalid", "true");
  const at = problem.position;
  byId("hint").className = "hint bad";
  byId("hint").replaceChildren(h("span", {}, message), at ? excerpt(text, at - 1) : "");
}

const CONTEXT = 12; // characters on either side

function excerpt(text, at) {
  const from = Math.max(0, at - CONTEXT), to = at + CONTEXT;
  return h("code", {class: "place"}, (from ? "…" : "") + text.slice(from, at),
    h("mark", {}, text[at] ?? "␣"), text.slice(at + 1, to) + (to < text.length ? "…" : ""));
}

function grow() {
  const field = byId("number");
  field.classList.toggle("long", field.value.length > 30);
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
}

async function send(event) {
  event.preventDefault();
  const text = normalized(byId("number").value);
  if (!text) return byId("number").focus();
  clearTimeout(previewTimer);
  pending?.abort();
  const button = byId("form").querySelector("button");
  button.disabled = true;
  try {
    const task = await submit(text, ({message}) => showHint([`${message} Trying again…`]));
    myTasks.remember(task);
    location.hash = `#/task/${task.task_id}`;
    deliver(task);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showError(text, error);
    byId("number").focus();
  } finally {
    button.disabled = false;
  }
}

export function enter() {
  byId("number").select();
  preview();
}
