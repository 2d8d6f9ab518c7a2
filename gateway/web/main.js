// Opens the view that the address names, and says when the connection to the service is down.

import * as batch from "./batch.js";
import {byId, h, setText} from "./dom.js";
import * as home from "./home.js";
import * as key from "./key.js";
import {onConnectionChange, reconnectNow} from "./live.js";
import * as myTasks from "./mytasks.js";
import * as status from "./status.js";
import * as task from "./task.js";
import {duration} from "./text.js";

const VIEWS = {home, task, batch, status};
const TITLES = {home: "Factorline", batch: "Batch · Factorline", status: "Status · Factorline"};
const NOTICE_DELAY_MS = 600; // a shorter interruption is not worth a notice

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

let noticeTimer = 0;

function showConnection({state, since}) {
  clearInterval(noticeTimer);
  const notice = byId("offline");
  if (state === "live" || state === "locked") {
    notice.hidden = true;
    return;
  }
  const refused = state === "refused";
  const show = () => {
    if (Date.now() - since < NOTICE_DELAY_MS) return;
    if (notice.hidden) notice.replaceChildren(h("span", {}), h("button", {class: "quiet", type: "button"}));
    notice.hidden = false;
    const [text, button] = notice.children;
    setText(button, refused ? "Reload" : "Try now");
    button.onclick = refused ? () => location.reload() : reconnectNow;
    setText(text, refused ? "The service closed this page's connection. Reload the page to connect again."
      : "Offline: what you see may be out of date. Reconnecting…");
    notice.title = `for ${duration((Date.now() - since) / 1000)}`;
  };
  noticeTimer = setInterval(show, 300);
}

key.setUp();
key.onKeyEntered(() => {
  route();
  reconnectNow();
});
home.setUp();
myTasks.setUp();
batch.setUp();
onConnectionChange(showConnection);
addEventListener("hashchange", route);
route();
reconnectNow();
