// Speaks HTTP with the gateway: answers are objects, everything else is a Refused with a problem in it.

import {key, need} from "./key.js";

const SUBMIT_PATIENCE_MS = 90000;
const LONGEST_PAUSE_MS = 4000;
const REQUEST_MS = 20000;

/** What the service does not do, with the reason as an RFC 9457 problem. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return [0, 502, 503, 504].includes(this.problem.status);
  }
}

/** Call the gateway and return what it answers. */
export async function call(path, {method = "GET", body, headers = {}, signal} = {}) {
  const given = {method, headers: {...headers}, signal: signal ?? AbortSignal.timeout(REQUEST_MS)};
  if (body !== undefined) {
    given.body = JSON.stringify(body);
    given.headers["Content-Type"] = "application/json";
  }
  const shown = key();
  if (shown) given.headers.Authorization = `Bearer ${shown}`;
  let answer, document;
  try {
    answer = await fetch(path, given);
    document = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused({title: "The service cannot be reached", status: answer ? answer.status || 502 : 0,
      detail: "The service cannot be reached at the moment."});
  }
  if (answer.status === 401) need(shown);
  if (!answer.ok) throw new Refused(document);
  return document;
}

/**
 * Submit a number. Repeated with the same key while the service is away, so one task comes of it; `waiting`
 * is called with the reason whenever it has to be repeated.
 */
export async function submit(number, waiting = () => {}) {
  const end = Date.now() + SUBMIT_PATIENCE_MS;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const key = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
  for (let attempt = 0; ; attempt++) {
    try {
      return await call("/factor", {method: "POST", body: {number}, headers: {"Idempotency-Key": key}});
    } catch (error) {
      if (!error.passing || Date.now() > end) throw error;
      waiting(error);
      await pause(jitter(Math.min(500 * 2 ** attempt, LONGEST_PAUSE_MS)));
    }
  }
}

/** Full jitter: anything from nothing to the longest pause, so that many pages do not come back at once. */
export const jitter = longest => Math.random() * longest;

export const pause = milliseconds => new Promise(resolve => { setTimeout(resolve, milliseconds); });
