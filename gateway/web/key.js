// The API key of this tab: kept in its sessionStorage, shown to the gateway, asked for when that wants one.

import {byId, say} from "./dom.js";

const PLACE = "factorline.key";

const hearers = new Set();
let held = kept();

function kept() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // a browser that keeps nothing is no error
  }
}

function keep(text) {
  held = text;
  byId("forget-key").hidden = !text;
  try {
    sessionStorage.setItem(PLACE, text);
  } catch { /* it lasts until the page is left */ }
}

/** The key, or an empty text. */
export const key = () => held;

/** Call `hear` when a key was entered. */
export const onKey = hear => hearers.add(hear);

export function setUp() {
  byId("forget-key").hidden = !held;
  byId("forget-key").addEventListener("click", () => {
    keep("");
    location.reload();
  });
  byId("door").addEventListener("submit", event => {
    event.preventDefault();
    const text = byId("key").value.trim();
    if (!text) return byId("key").focus();
    byId("key").value = "";
    byId("door").hidden = true;
    keep(text);
    for (const hear of hearers) hear();
  });
}

/** Ask for a key, because the gateway did not take `shown`; if another one was entered since, do not. */
export function need(shown) {
  const door = byId("door");
  if (shown !== held || (!shown && !door.hidden)) return;
  if (shown) keep("");
  say(byId("key-why"), shown ? "The service does not know that key, or it was revoked." : "This service asks for an API key.");
  door.hidden = false;
  if (location.hash.length < 3) byId("key").focus(); // whoever reads a task is not interrupted
}
