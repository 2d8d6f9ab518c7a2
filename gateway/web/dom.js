// Makes elements. Nothing is ever parsed as HTML: text from the server or the user stays text.

export const byId = id => document.getElementById(id);

/** Return an element. `attributes` may hold `on…` listeners; children that are null are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}

/** Set an element's text if it differs, so that nothing is drawn or announced twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tell something to people who use a screen reader. */
export function announce(text) {
  setText(byId("announcer"), text);
}

/** Return a button that copies what `text` returns. `name` is its accessible name. */
export function copyButton(label, text, name = label) {
  const button = h("button", {class: "quiet", type: "button", "aria-label": name}, label);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.textContent = done ? "Copied" : "Not copied";
    announce(done ? `${name}: copied` : "The browser blocked the copy");
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers offer the clipboard API only to pages from https or localhost; this older way works anywhere.
    const area = h("textarea", {class: "visually-hidden", "aria-hidden": "true"});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
