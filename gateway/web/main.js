// Opens the view that the address names, and says when the line to the service is down.

import * as batch from "./batch.js";
import {byId, h} from "./dom.js";
import * as home from "./home.js";
import * as key from "./key.js";
import {hurry, watchLine} from "./live.js";
import * as mine from "./mine.js";
import * as status from "./status.js";
import * as task from "./task.js";
import {duration} from "./text.js";

const VIEWS = {home, task, batch, status};
const TITLES = {home: "Factorline", batch: "Many · Factorline", status: "Status · Factorline"};
const PATIENCE_MS = 600; // a line that is back by then was never gone for anybody who looks

let current = null;

function route(event) {
  const [, name = "", argument = ""] = location.hash.split("/");
  const wanted = name in VIEWS && (name !== "task" || argument) ? name : "home";
  VIEWS[current]?.exit?.();
  for (const view of Object.keys(VIEWS)) byId(view).hidden = view !== wanted;
  for (const link of document.querySelectorAll("nav a"))
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  if (TITLES[wanted]) document.title = TITLES[wanted];
  current = wanted;
  VIEWS[wanted].enter?.(decodeURIComponent(argument));
  if (!event) return;
  scrollTo(0, 0);
  if (wanted !== "home") byId("main").focus({preventScroll: true});
}

let ticking = 0;

function lineChanged(line) {
  clearInterval(ticking);
  const box = byId("offline");
  if (line.state === "live" || line.state === "locked") {
    box.hidden = true;
    return;
  }
  const show = () => {
    if (Date.now() - line.since < PATIENCE_MS) return;
    if (box.hidden) box.replaceChildren(h("span", {}), h("button", {class: "quiet", type: "button", onclick: () =>
      line.state === "refused" ? location.reload() : hurry()}, line.state === "refused" ? "Reload" : "Try now"));
    box.hidden = false;
    const text = line.state === "refused" ? "The service has ended this page's connection."
      : "Offline: what you see may be old. Trying to reach the service again";
    if (box.firstChild.textContent !== text) box.firstChild.textContent = text;
    box.title = `for ${duration((Date.now() - line.since) / 1000)}`;
  };
  ticking = setInterval(show, 300);
}

key.setUp();
key.onKey(() => {
  route();
  hurry();
});
home.setUp();
mine.setUp();
batch.setUp();
watchLine(lineChanged);
addEventListener("hashchange", route);
route();
hurry();
