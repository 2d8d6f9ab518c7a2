// One WebSocket for the page (subprotocol factorline.v1): follows tasks, and comes back by itself.

import {call, jitter} from "./api.js";
import {key, need} from "./key.js";

const PING_MS = 15000;
const PONG_MS = 5000;
const POLLED_TASKS = 20;
const IDS_A_FRAME = 500;
const NOT_AUTHENTICATED = 4002;
const KEY_REVOKED = 4003;

/** Task id → {task, hearers, subscribed}. */
const followed = new Map();
const lineHearers = new Set();
let socket = null;
let greeted = false;
let shown = "";
let limit = 0;
let attempts = 0;
let timer = 0;
let silence = 0;
let line = {state: "connecting", since: Date.now(), retryAt: 0};

/** Call `hear` with the state of the line now and whenever it changes. */
export function watchLine(hear) {
  lineHearers.add(hear);
  hear(line);
}

/** Call `show` with a task now and whenever it changes, `fail` with the problem if it cannot be had. */
export function follow(id, {show, fail = () => {}}) {
  const hearer = {show, fail};
  const entry = followed.get(id) ?? {task: null, hearers: new Set(), subscribed: false};
  followed.set(id, entry);
  entry.hearers.add(hearer);
  if (entry.task) show(entry.task);
  queueMicrotask(subscribe);
  return () => {
    entry.hearers.delete(hearer);
    if (entry.hearers.size || followed.get(id) !== entry) return;
    followed.delete(id);
    if (entry.subscribed) send({type: "unsubscribe", task_ids: [id]});
  };
}

/** Take a task that came another way; followers see it if it is news. */
export function offer(task) {
  const entry = followed.get(task.task_id);
  if (!entry || !isNews(entry.task, task)) return;
  entry.task = task;
  if (task.done) entry.subscribed = false;
  for (const hearer of entry.hearers) hearer.show(task);
}

const isNews = (old, task) => !old || (!old.done && (task.done || task.version > old.version));

/** Try to connect now, for the first time or instead of later; if a line is there, find out whether it is alive. */
export function hurry() {
  if (!socket) connect();
  else if (greeted) ping();
}

function connect() {
  if (line.state === "refused" || (line.state === "locked" && !key())) return;
  clearTimeout(timer);
  timer = 0;
  tell("connecting");
  const fresh = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws", "factorline.v1");
  socket = fresh;
  fresh.onmessage = ({data}) => { if (socket === fresh) hear(JSON.parse(data)); };
  fresh.onclose = ({code}) => { if (socket === fresh) lost(code); };
}

function hear(message) {
  clearTimeout(silence);
  silence = setTimeout(ping, PING_MS);
  if (message.type === "hello") {
    limit = message.limits.subscriptions;
    shown = key();
    if (message.authenticated) greet();
    else if (shown) send({type: "authenticate", key: shown});
    else lost(NOT_AUTHENTICATED);
  } else if (message.type === "authenticated") greet();
  else if (message.task) {
    offer(message.task);
    if (message.type === "done") subscribe(); // a place is free
  } else if (message.type === "error" && message.task_id) refuse(message.task_id, message.problem);
}

function greet() {
  greeted = true;
  attempts = 0;
  tell("live");
  subscribe();
}

function refuse(id, problem) {
  const entry = followed.get(id);
  if (!entry) return;
  entry.subscribed = false;
  if (problem.status === 503) setTimeout(subscribe, jitter(4000));
  else for (const hearer of entry.hearers) hearer.fail(problem);
}

/** Subscribe to what is followed and not subscribed yet, as far as the gateway's limit goes. */
function subscribe() {
  if (!greeted) return;
  const entries = [...followed].filter(([, entry]) => !entry.task?.done);
  let free = limit - entries.filter(([, entry]) => entry.subscribed).length;
  const fresh = entries.filter(([, entry]) => !entry.subscribed && free-- > 0);
  for (const [, entry] of fresh) entry.subscribed = true;
  for (let at = 0; at < fresh.length; at += IDS_A_FRAME)
    send({type: "subscribe", task_ids: fresh.slice(at, at + IDS_A_FRAME).map(([id]) => id)});
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** A line that died without a word is found out by asking. */
function ping() {
  clearTimeout(silence);
  send({type: "ping"});
  const asked = socket;
  silence = setTimeout(() => { if (socket === asked) lost(1006); }, PONG_MS);
}

/** Come back as the close code says: 40xx not at all, 41xx slowly, 42xx and leaving gateways soon. */
function lost(code) {
  clearTimeout(silence);
  const old = socket;
  socket = null;
  greeted = false;
  old.close();
  for (const entry of followed.values()) entry.subscribed = false;
  if (code === NOT_AUTHENTICATED || code === KEY_REVOKED) {
    need(shown);
    return tell("locked");
  }
  if (code >= 4000 && code < 4100) return tell("refused");
  if (attempts > 0) poll();
  const soon = code === 1001 || code === 1012 || (code >= 4200 && code < 4300);
  const first = code >= 4100 && code < 4200 ? 5000 : 500;
  const wait = jitter(soon ? 1000 : Math.min(first * 2 ** attempts, 30000));
  attempts++;
  timer = setTimeout(connect, wait);
  tell("lost", Date.now() + wait);
}

/** While no socket can be had, ask over HTTP: some networks let nothing else through. */
function poll() {
  const ids = [...followed].filter(([, entry]) => !entry.task?.done).map(([id]) => id);
  for (const id of ids.slice(0, POLLED_TASKS))
    call(`/tasks/${id}`).then(offer, error => {
      if (error.problem?.status === 404) refuse(id, error.problem);
    });
}

function tell(state, retryAt = 0) {
  const down = state !== "live";
  const wasDown = line.state !== "live";
  line = {state, retryAt, since: down && wasDown ? line.since : Date.now()};
  for (const hear of lineHearers) hear(line);
}

addEventListener("online", hurry);
addEventListener("offline", () => { if (greeted) ping(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) hurry(); });
