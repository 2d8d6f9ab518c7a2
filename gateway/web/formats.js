// Writes answers in formats that other programs read.

const terms = ({factors, composites}) => [
  ...factors.map(({prime, exponent}) => [prime, exponent]),
  ...composites.map(({value, exponent}) => [value, exponent]),
];

function equation(task, times, raise) {
  const shown = terms(task).map(([value, exponent]) => exponent > 1 ? raise(value, exponent) : value);
  return `${task.number} = ${shown.join(times) || task.number}`;
}

/** The name of a format → the function that writes a task in it. */
export const FORMATS = {
  Text: task => equation(task, " * ", (value, exponent) => `${value}^${exponent}`),
  LaTeX: task => equation(task, " \\cdot ", (value, exponent) => `${value}^{${exponent}}`),
  JSON: ({number, status, factors, composites}) => JSON.stringify({number, status, factors, composites}, null, 2),
  Python: task => `{${terms(task).map(([value, exponent]) => `${value}: ${exponent}`).join(", ")}}`,
};

const CSV_COLUMNS = ["line", "input", "number", "digits", "status", "factors", "composites", "cpu_seconds", "reason"];

/** Return a batch as CSV (RFC 4180). `rows` holds {input, task?, problem?}. */
export function csv(rows) {
  const lines = rows.map(({input, task, problem}, place) => [place + 1, input, ...(task ? [
    task.number, task.number.replace("-", "").length, task.status, factorsOf(task),
    task.composites.map(({value, exponent}) => raised(value, exponent)).join(" "),
    task.progress.cpu_seconds, task.reason ?? "",
  ] : ["", "", "refused", "", "", "", problem?.detail ?? ""])]);
  return [CSV_COLUMNS, ...lines].map(cells => cells.map(quoted).join(",") + "\r\n").join("");
}

const raised = (value, exponent) => exponent > 1 ? `${value}^${exponent}` : value;
const factorsOf = task => task.factors.length
  ? task.factors.map(({prime, exponent}) => raised(prime, exponent)).join(" ") : task.result ?? "";

/** Quote a cell. A leading apostrophe keeps a spreadsheet from running what somebody typed as a formula. */
function quoted(cell) {
  const text = String(cell);
  const safe = /^[=+@\t\r]|^-(?![\d ^]+$)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
