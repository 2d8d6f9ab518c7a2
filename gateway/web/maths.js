// Writes numbers and products as mathematics: grouped digits, raised exponents, composites marked.

import {h} from "./dom.js";
import {digitsOf, plural} from "./text.js";

/** An integer in groups of three digits. The gaps are drawn by CSS, so that copied text has digits only. */
export function digits(value) {
  const negative = value.startsWith("-");
  const plain = negative ? value.slice(1) : value;
  const groups = plain.match(/^\d{1,3}(?=(?:\d{3})*$)|\d{3}/g) ?? [plain];
  const parts = groups.flatMap((group, place) => [place ? h("wbr") : null, h("span", {class: "g"}, group)]);
  return h("span", {class: "digits"}, negative ? "−" : null, parts);
}

/** An expression with raised exponents, or grouped digits if it is a plain number. */
export function typeset(expression) {
  if (/^-?\d+$/.test(expression)) return digits(expression);
  const chained = /\^\s*(?:\d+|\([^()]*\))\s*\^/.test(expression);
  if (chained) return h("span", {class: "maths"}, expression);
  const parts = expression.split(/(\^\s*(?:\d+|\([^()]*\)))/).map((part, place) => {
    if (part.startsWith("^")) return h("sup", {}, part.slice(1).trim().replace(/^\((.*)\)$/, "$1"));
    const spaced = part.replace(/\s*\*\s*/g, " × ").replace(/(?<=[\d)!])\s*([-+])\s*/g, " $1 ");
    return (place ? spaced.replace(/^\s*([-+])\s*/, " $1 ") : spaced).replaceAll("-", "−");
  });
  return h("span", {class: "maths"}, parts);
}

const MAX_BRIEF = 40;
const ENDS = 15;

/** An expression shortened for a row of a table: of a long number, its first and last digits. */
export function brief(expression) {
  if (expression.length <= MAX_BRIEF) return typeset(expression);
  if (!/^-?\d+$/.test(expression)) return h("span", {class: "maths"}, `${expression.slice(0, MAX_BRIEF)}…`);
  return h("span", {}, digits(expression.slice(0, ENDS)), "…", digits(expression.slice(-ENDS)));
}

const MAX_INLINE = 60;

/** The known factorization as a product, or null while nothing is known. A composite may have no `value`. */
export function product({factors, composites, result}) {
  const terms = [...factors.map(primePower), ...composites.map(compositePower)];
  if (!terms.length) return result ? h("span", {class: "product"}, digits(result)) : null;
  const parts = terms.flatMap((term, place) => place ? [h("span", {class: "times"}, " × "), term] : [term]);
  return h("span", {class: "product"}, parts);
}

function primePower({prime, exponent, certainty}) {
  const title = certainty === "probable" ? "a probable prime" : null;
  return h("span", {class: `term ${certainty}`, title}, digits(prime), power(exponent));
}

function compositePower({value, exponent, digits: size, certainty}) {
  const what = certainty === "composite" ? "composite" : "not tested yet";
  const inside = value && value.length <= MAX_INLINE ? digits(value)
    : h("span", {class: "size"}, plural(size, "digit"));
  return h("span", {class: "term composite", title: `${what}, ${plural(size, "digit")}`}, inside, power(exponent));
}

const power = exponent => exponent > 1 ? h("sup", {}, String(exponent)) : null;

const CERTAINTIES = {proven: "proven prime", probable: "probable prime", unit: "unit", composite: "composite",
  unknown: "not tested yet"};

/** Every factor in a row of its own: value, exponent, digits, whether it is a proven prime. */
export function factorTable({factors, composites}, copyButton) {
  const rows = [...factors.map(factor => ({...factor, value: factor.prime})), ...composites];
  return h("table", {class: "factors"},
    h("caption", {class: "visually-hidden"}, "Factors"),
    h("thead", {}, h("tr", {}, ["Factor", "Exponent", "Digits", "Type"].map(name =>
      h("th", {scope: "col"}, name)), h("td", {}))),
    h("tbody", {}, rows.map(({value, exponent, certainty}) => h("tr", {class: certainty},
      h("td", {class: "value"}, digits(value)),
      h("td", {class: exponent === 1 ? "number power one" : "number power"}, String(exponent)),
      h("td", {class: "number size-of", "data-unit": digitsOf(value) === 1 ? "digit" : "digits"}, String(digitsOf(value))),
      h("td", {}, h("span", {class: `certainty ${certainty}`}, CERTAINTIES[certainty] ?? certainty)),
      h("td", {class: "end"}, copyButton("Copy", () => value, `Copy ${value.slice(0, 12)}`))))));
}
