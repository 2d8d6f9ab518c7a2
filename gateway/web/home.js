// The field: says at once what a number is and what it will cost, and submits it.

import {Refused, call, submit} from "./api.js";
import {byId, h} from "./dom.js";
import {offer} from "./live.js";
import * as mine from "./mine.js";
import {about, plural, shortened} from "./text.js";

const DEBOUNCE_MS = 120;
const LONGEST_PATH = 6000; // a longer one the gateway refuses before it looks
const EXAMPLES = ["2^128+1", "30!+1", "(10^71-1)/9"];
const KNOWN = {P: "a prime, already proven", PRP: "a probable prime, already known", FF: "already factored",
  Unit: "no primes in it", Zero: "no factorization"};

let timer = 0;
let asking = null;

/** A number copied with its gaps or lines loses them; in an expression a line break is a space. */
export const cleaned = text => /^\s*-?[\d\s,_\u202f\u2009]+$/.test(text) && /\d/.test(text)
  ? text.replace(/[\s,_\u202f\u2009]/g, "") : text.replace(/\s+/g, " ").trim();

export function setUp() {
  const field = byId("number");
  for (const example of EXAMPLES)
    byId("examples").append(h("button", {class: "quiet", type: "button", onclick: () => {
      field.value = example;
      field.focus();
      look();
    }}, example));
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, DEBOUNCE_MS); });
  field.addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    byId("form").requestSubmit();
  });
  byId("form").addEventListener("submit", send);
  look();
}

/** Ask the gateway what it makes of the text. */
async function look() {
  clearTimeout(timer);
  asking?.abort();
  const text = cleaned(byId("number").value);
  grow();
  if (!text) return hint(["An integer or an expression of ", h("code", {}, "+ − * / ^ ! ( )")]);
  if (encodeURIComponent(text).length > LONGEST_PATH) return hint(["Too long to look at while you type."]);
  asking = new AbortController();
  try {
    hint(described(text, await call(`/numbers/${encodeURIComponent(text)}`, {signal: asking.signal})));
  } catch (error) {
    if (error instanceof Refused) refuse(text, error);
  }
}

function described(text, known) {
  const parts = [h("b", {}, plural(known.digits, "digit"))];
  if (text !== known.number) parts.push(h("span", {class: "maths"}, shortened(known.number)));
  if (KNOWN[known.status]) parts.push(KNOWN[known.status]);
  else parts.push(effort(known.progress.estimate_cpu_seconds));
  return parts;
}

const effort = seconds => seconds === null ? "beyond the sieve: only its smaller factors can be hoped for"
  : seconds < 1 ? "under a second of computing" : `at most ${about(seconds)} of computing`;

function hint(parts) {
  byId("number").removeAttribute("aria-invalid");
  byId("hint").className = "hint";
  byId("hint").replaceChildren(...parts.flatMap((part, place) => place && parts[0] instanceof Element
    ? [h("span", {class: "dot", "aria-hidden": "true"}, " · "), part] : [part]));
}

/** Show why it is refused, and where in the text. */
function refuse(text, {message, problem, passing}) {
  if (problem.status === 401) return hint(["The service asks for an API key first."]);
  if (!passing) byId("number").setAttribute("aria-invalid", "true");
  const at = problem.position;
  byId("hint").className = "hint bad";
  byId("hint").replaceChildren(h("span", {}, message), at ? place(text, at - 1) : "");
}

const AROUND = 12;

function place(text, at) {
  const from = Math.max(0, at - AROUND), to = at + AROUND;
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
  const text = cleaned(byId("number").value);
  if (!text) return byId("number").focus();
  clearTimeout(timer);
  asking?.abort();
  const button = byId("form").querySelector("button");
  button.disabled = true;
  try {
    const task = await submit(text, ({message}) => hint([`${message} Trying again…`]));
    mine.remember(task);
    location.hash = `#/task/${task.task_id}`;
    offer(task);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuse(text, error);
    byId("number").focus();
  } finally {
    button.disabled = false;
  }
}

export function enter() {
  byId("number").select();
  look();
}
