// The API key of this tab: kept in sessionStorage, sent with every request, asked for when the gateway wants one.

import {byId, setText} from "./dom.js";

const STORAGE_KEY = "factorline.key";

const listeners = new Set();
let current = load();

function load() {
  try {
    return sessionStorage.getItem(STORAGE_KEY) ?? "";
  } catch {
    return ""; // the browser stores nothing
  }
}

function save(text) {
  current = text;
  byId("forget-key").hidden = !text;
  try {
    sessionStorage.setItem(STORAGE_KEY, text);
  } catch { /* the key lasts until the page is left */ }
}

/** The key, or an empty string. */
export const apiKey = () => current;

/** Call the listener whenever a key has been entered. */
export const onKeyEntered = listener => listeners.add(listener);

export function setUp() {
  byId("forget-key").hidden = !current;
  byId("forget-key").addEventListener("click", () => {
    save("");
    location.reload();
  });
  byId("key-form").addEventListener("submit", event => {
    event.preventDefault();
    const text = byId("key").value.trim();
    if (!text) return byId("key").focus();
    byId("key").value = "";
    byId("key-form").hidden = true;
    save(text);
    for (const listener of listeners) listener();
  });
}

/** Ask for a key because the gateway rejected this one ("" for none), unless another was entered since. */
export function askForKey(rejected) {
  const form = byId("key-form");
  if (rejected !== current || (!rejected && !form.hidden)) return;
  if (rejected) save("");
  setText(byId("key-why"), rejected ? "Unknown or revoked API key. Enter another one." : "This service needs an API key.");
  form.hidden = false;
  if (location.hash.length < 3) byId("key").focus(); // on a task's page the focus stays where the reader is
}
