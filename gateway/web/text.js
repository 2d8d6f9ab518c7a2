// Writes counts, times and states as people read them.

const THIN = "\u202f";

/** 1234567 → 1 234 567, with narrow spaces that do not break. */
export const count = value => Math.round(value).toLocaleString("en").replaceAll(",", THIN);

/** A count with its noun: plural(3, "factor") → 3 factors. */
export const plural = (many, noun) => `${count(many)} ${noun}${many === 1 ? "" : "s"}`;

const STATUSES = {queued: "Queued", running: "Running", succeeded: "Factored", partial: "Partly factored",
  failed: "Failed", cancelled: "Cancelled"};

/** The status of a task in the page's words. */
export const statusName = status => STATUSES[status] ?? status;

/** Seconds as a duration: 0.42 s, 12 s, 3 min 5 s, 2 h 10 min, 4 days 3 h. */
export function duration(seconds) {
  if (seconds < 0.095) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return pair(minutes, "min", whole % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "days", hours % 24, "h");
}

const pair = (large, unit, small, lesser) => `${large} ${unit}` + (small ? ` ${small} ${lesser}` : "");

/** [below so many seconds, the unit's own seconds, its name] */
const UNITS = [[60, 1, "second"], [3600, 60, "minute"], [172800, 3600, "hour"], [63072000, 86400, "day"],
  [3.2e9, 31536000, "year"]];

/** Seconds as roughly as an estimate deserves: "about 3 minutes", "more than a century". */
export function about(seconds) {
  if (seconds < 1) return "under a second";
  const [, size, unit] = UNITS.find(([limit]) => seconds < limit) ?? [];
  if (!size) return "more than a century";
  const many = rounded(seconds / size);
  return many === 1 ? `about ${unit === "hour" ? "an" : "a"} ${unit}` : `about ${plural(many, unit)}`;
}

const rounded = value => value < 10 ? Math.max(1, Math.round(value)) : Number(value.toPrecision(2));

/** Seconds since an RFC 3339 time; a clock that is ahead of ours gives 0. */
export const secondsSince = time => Math.max(0, (Date.now() - Date.parse(time)) / 1000);

/** A time of day, with its date unless that is today. */
export function moment(time) {
  const date = new Date(time);
  const clock = date.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
  return date.toDateString() === new Date().toDateString() ? clock
    : `${date.toLocaleDateString([], {day: "numeric", month: "short", year: "numeric"})}, ${clock}`;
}

/** The first and last digits of a long number, the whole of a short one. */
export const shortened = value => value.length > 40 ? `${value.slice(0, 18)}…${value.slice(-18)}` : value;

/** How many digits an integer has, without its sign. */
export const digitsOf = value => value.replace("-", "").length;
