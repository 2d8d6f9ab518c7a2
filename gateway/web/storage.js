// Keeps JSON in the browser's storage. A browser may refuse to store anything: then nothing is remembered.

/** Return what is stored under a key, else the fallback. `area` is "localStorage" or "sessionStorage". */
export function load(area, key, fallback) {
  try {
    return JSON.parse(window[area].getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** Store a value. If it does not fit, the old value is removed too: an outdated one would mislead. */
export function save(area, key, value) {
  try {
    window[area].setItem(key, JSON.stringify(value));
  } catch {
    try {
      window[area].removeItem(key);
    } catch { /* the browser stores nothing at all */ }
  }
}
