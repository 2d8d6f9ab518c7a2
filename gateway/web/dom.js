// Makes elements without ever parsing text as HTML: whatever comes from a server or a user stays text.

export const byId = id => document.getElementById(id);

/** Return an element. `given` holds attributes, `on…` listeners and `class`; children may be null. */
export function h(tag, given = {}, ...children) {
  return fill(document.createElement(tag), given, children);
}

/** The same for SVG. */
export function s(tag, given = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), given, children);
}

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}

/** Put a text into an element only if it is another one, so that nothing is announced or drawn twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tell something to people who listen to the page. */
export function announce(text) {
  say(byId("said"), text);
}

/** Let a button copy what `text` returns, and say that it did. */
export function copyButton(label, text, describes = label) {
  const button = h("button", {class: "quiet", type: "button", "aria-label": describes}, label);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.textContent = done ? "Copied" : "Not copied";
    announce(done ? `${describes}: copied` : "The browser did not let the page copy");
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers offer the clipboard only to pages from https or localhost; the old way works anywhere.
    const area = h("textarea", {class: "unseen", "aria-hidden": "true"});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
