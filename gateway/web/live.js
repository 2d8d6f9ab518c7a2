// The page's one WebSocket (subprotocol factorline.v1): follows tasks, and reconnects by itself.

import {call, jitter} from "./api.js";
import {apiKey, askForKey} from "./key.js";

const PING_MS = 15000;
const PONG_MS = 5000;
const MAX_POLLED_TASKS = 20;
const MAX_IDS_PER_FRAME = 500;
const NOT_AUTHENTICATED = 4002;
const KEY_REVOKED = 4003;

/** Task id → {task, followers, subscribed}. */
const followed = new Map();
const connectionListeners = new Set();
let socket = null;
let ready = false;
let sentKey = "";
let maxSubscriptions = 0;
let attempts = 0;
let reconnectTimer = 0;
let silenceTimer = 0;
/** state: "connecting", "live", "lost", "locked" (needs a key) or "refused" (the gateway wants no more of us). */
let connection = {state: "connecting", since: Date.now()};

/** Call the listener with the state of the connection, now and whenever it changes. */
export function onConnectionChange(listener) {
  connectionListeners.add(listener);
  listener(connection);
}

/** Call `show` with a task now and whenever it changes; call `fail` with the problem if it cannot be had. */
export function follow(id, {show, fail = () => {}}) {
  const follower = {show, fail};
  const entry = followed.get(id) ?? {task: null, followers: new Set(), subscribed: false};
  followed.set(id, entry);
  entry.followers.add(follower);
  if (entry.task) show(entry.task);
  queueMicrotask(subscribe);
  return () => {
    entry.followers.delete(follower);
    if (entry.followers.size || followed.get(id) !== entry) return;
    followed.delete(id);
    if (entry.subscribed) send({type: "unsubscribe", task_ids: [id]});
  };
}

/** Show a task to its followers if it is newer than what they have seen. It may come over HTTP too. */
export function deliver(task) {
  const entry = followed.get(task.task_id);
  if (!entry || !isNewer(task, entry.task)) return;
  entry.task = task;
  if (task.done) entry.subscribed = false;
  for (const follower of entry.followers) follower.show(task);
}

const isNewer = (task, known) => !known || (!known.done && (task.done || task.version > known.version));

/** Connect now instead of at the next attempt; if there is a connection, check that it is alive. */
export function reconnectNow() {
  if (!socket) connect();
  else if (ready) ping();
}

function connect() {
  if (connection.state === "refused" || (connection.state === "locked" && !apiKey())) return;
  clearTimeout(reconnectTimer);
  reconnectTimer = 0;
  setConnection("connecting");
  const fresh = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws", "factorline.v1");
  socket = fresh;
  fresh.onmessage = ({data}) => { if (socket === fresh) onMessage(JSON.parse(data)); };
  fresh.onclose = ({code}) => { if (socket === fresh) onClose(code); };
}

function onMessage(message) {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(ping, PING_MS);
  if (message.type === "hello") {
    maxSubscriptions = message.limits.subscriptions;
    sentKey = apiKey();
    if (message.authenticated) onReady();
    else if (sentKey) send({type: "authenticate", key: sentKey});
    else onClose(NOT_AUTHENTICATED);
  } else if (message.type === "authenticated") onReady();
  else if (message.task) {
    deliver(message.task);
    if (message.type === "done") subscribe(); // its subscription is free for another task
  } else if (message.type === "error" && message.task_id) onTaskError(message.task_id, message.problem);
}

function onReady() {
  ready = true;
  attempts = 0;
  setConnection("live");
  subscribe();
}

function onTaskError(id, problem) {
  const entry = followed.get(id);
  if (!entry) return;
  entry.subscribed = false;
  if (problem.status === 503) setTimeout(subscribe, jitter(4000));
  else for (const follower of entry.followers) follower.fail(problem);
}

/** Subscribe to the followed tasks that are not subscribed yet, as far as the gateway's limit allows. */
function subscribe() {
  if (!ready) return;
  const unfinished = [...followed].filter(([, entry]) => !entry.task?.done);
  let free = maxSubscriptions - unfinished.filter(([, entry]) => entry.subscribed).length;
  const fresh = unfinished.filter(([, entry]) => !entry.subscribed && free-- > 0);
  for (const [, entry] of fresh) entry.subscribed = true;
  for (let at = 0; at < fresh.length; at += MAX_IDS_PER_FRAME)
    send({type: "subscribe", task_ids: fresh.slice(at, at + MAX_IDS_PER_FRAME).map(([id]) => id)});
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** Ask for a sign of life: a connection can die without being closed. */
function ping() {
  clearTimeout(silenceTimer);
  send({type: "ping"});
  const asked = socket;
  silenceTimer = setTimeout(() => { if (socket === asked) onClose(1006); }, PONG_MS);
}

/** Reconnect as the close code says: after 40xx never, after 41xx slowly, after 42xx or a restart soon. */
function onClose(code) {
  clearTimeout(silenceTimer);
  const old = socket;
  socket = null;
  ready = false;
  old.close();
  for (const entry of followed.values()) entry.subscribed = false;
  if (code === NOT_AUTHENTICATED || code === KEY_REVOKED) {
    askForKey(sentKey);
    return setConnection("locked");
  }
  if (code >= 4000 && code < 4100) return setConnection("refused");
  if (attempts > 0) poll();
  const soon = code === 1001 || code === 1012 || (code >= 4200 && code < 4300);
  const first = code >= 4100 && code < 4200 ? 5000 : 500;
  reconnectTimer = setTimeout(connect, jitter(soon ? 1000 : Math.min(first * 2 ** attempts, 30000)));
  attempts++;
  setConnection("lost");
}

/** Ask over HTTP while there is no WebSocket: some networks let none through. */
function poll() {
  const ids = [...followed].filter(([, entry]) => !entry.task?.done).map(([id]) => id);
  for (const id of ids.slice(0, MAX_POLLED_TASKS))
    call(`/tasks/${id}`).then(deliver, error => {
      if (error.problem?.status === 404) onTaskError(id, error.problem);
    });
}

function setConnection(state) {
  const stillDown = state !== "live" && connection.state !== "live";
  connection = {state, since: stillDown ? connection.since : Date.now()};
  for (const listener of connectionListeners) listener(connection);
}

addEventListener("online", reconnectNow);
addEventListener("offline", () => { if (ready) ping(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) reconnectNow(); });
