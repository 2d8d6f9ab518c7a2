// Speaks HTTP with the gateway: answers are objects, everything else is a ApiError with a problem in it.

import {apiKey, askForKey} from "./key.js";

const SUBMIT_DEADLINE_MS = 90000;
const MAX_BACKOFF_MS = 4000;
const REQUEST_TIMEOUT_MS = 20000;

/** The service refused a request or could not be reached; `problem` says why (RFC 9457). */
export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return [0, 502, 503, 504].includes(this.problem.status);
  }
}

/** Call the gateway and return the JSON that it answers. */
export async function call(path, {method = "GET", body, headers = {}, signal} = {}) {
  const options = {method, headers: {...headers}, signal: signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS)};
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const key = apiKey();
  if (key) options.headers.Authorization = `Bearer ${key}`;
  let answer, document;
  try {
    answer = await fetch(path, options);
    document = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({title: "The service cannot be reached", status: answer ? answer.status || 502 : 0,
      detail: "The service cannot be reached at the moment."});
  }
  if (answer.status === 401) askForKey(key);
  if (!answer.ok) throw new ApiError(document);
  return document;
}

/**
 * Submit a number and return its task. While the service is away the request is repeated with the same
 * Idempotency-Key, so that only one task is made; `onRetry` is called with the error before each repetition.
 */
export async function submit(number, onRetry = () => {}) {
  const deadline = Date.now() + SUBMIT_DEADLINE_MS;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const idempotencyKey = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
  for (let attempt = 0; ; attempt++) {
    try {
      return await call("/factor", {method: "POST", body: {number}, headers: {"Idempotency-Key": idempotencyKey}});
    } catch (error) {
      if (!error.isTemporary || Date.now() > deadline) throw error;
      onRetry(error);
      await pause(jitter(Math.min(500 * 2 ** attempt, MAX_BACKOFF_MS)));
    }
  }
}

/** Full jitter: a random part of the longest pause, so that many pages do not come back at the same moment. */
export const jitter = longest => Math.random() * longest;

const pause = milliseconds => new Promise(resolve => { setTimeout(resolve, milliseconds); });
