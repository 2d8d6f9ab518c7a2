// The answer as text that other programs read.

const powers = ({factors, composites}) => [
  ...factors.map(({prime, exponent}) => [prime, exponent]),
  ...composites.map(({value, exponent}) => [value, exponent]),
];

function joined(task, times, raise) {
  const terms = powers(task).map(([value, exponent]) => exponent > 1 ? raise(value, exponent) : value);
  return `${task.number} = ${terms.join(times) || task.number}`;
}

/** Name → what makes the text. */
export const COPIES = {
  Text: task => joined(task, " * ", (value, exponent) => `${value}^${exponent}`),
  LaTeX: task => joined(task, " \\cdot ", (value, exponent) => `${value}^{${exponent}}`),
  JSON: ({number, status, factors, composites}) => JSON.stringify({number, status, factors, composites}, null, 2),
  Python: task => `{${powers(task).map(([value, exponent]) => `${value}: ${exponent}`).join(", ")}}`,
};

const CSV_HEAD = ["line", "input", "number", "digits", "status", "factors", "composites", "cpu_seconds", "reason"];

/** A batch as CSV (RFC 4180). `rows` holds {input, task?, problem?}. */
export function csv(rows) {
  const lines = rows.map(({input, task, problem}, place) => [place + 1, input, ...(task ? [
    task.number, task.number.replace("-", "").length, task.status, factorsOf(task),
    task.composites.map(({value, exponent}) => raised(value, exponent)).join(" "),
    task.progress.cpu_seconds, task.reason ?? "",
  ] : ["", "", "refused", "", "", "", problem?.detail ?? ""])]);
  return [CSV_HEAD, ...lines].map(cells => cells.map(quoted).join(",") + "\r\n").join("");
}

const raised = (value, exponent) => exponent > 1 ? `${value}^${exponent}` : value;
const factorsOf = task => task.factors.length
  ? task.factors.map(({prime, exponent}) => raised(prime, exponent)).join(" ") : task.result ?? "";

/** A cell; a spreadsheet must not take what somebody typed for a formula. */
function quoted(cell) {
  const text = String(cell);
  const safe = /^[=+@\t\r]|^-(?![\d ^]+$)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
