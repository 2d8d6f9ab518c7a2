// Shows the OpenAPI document as a page for people.

import {call} from "./api.js";
import {byId, h} from "./dom.js";

const mediaTypes = content => Object.entries(content ?? {}).map(([type, {schema}]) =>
  type + (schema?.$ref ? ` ${schema.$ref.split("/").pop()}` : "")).join(", ");

const table = (caption, rows) => rows.length ? h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": caption},
  h("table", {class: "results"}, h("caption", {}, caption),
    h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", {scope: "row"}, name), cells.map(cell => h("td", {}, cell))))))) : null;

/** Text with ``code`` in double backticks, as the document has it. */
const prose = text => (text ?? "").split("``").map((part, place) => place % 2 ? h("code", {}, part) : part);

function describe(path, method, operation) {
  return h("details", {},
    h("summary", {}, h("b", {}, method.toUpperCase()), " ", h("code", {}, path), " ", h("span", {class: "muted"}, prose(operation.summary))),
    operation.requestBody ? h("p", {}, `Body: ${mediaTypes(operation.requestBody.content)}`) : null,
    table("Parameters", operation.parameters.map(parameter => [parameter.name, parameter.in, prose(parameter.description)])),
    table("Responses", Object.entries(operation.responses).map(([status, answer]) => [status, prose(answer.description), mediaTypes(answer.content)])));
}

try {
  const api = await call("/openapi.json");
  byId("calls").replaceChildren(...Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => describe(path, method, operation))));
  byId("models").replaceChildren(...Object.entries(api.components.schemas).map(([name, schema]) =>
    h("details", {}, h("summary", {}, name), h("pre", {tabindex: "0"}, JSON.stringify(schema, null, 2)))));
} catch (error) {
  byId("calls").replaceChildren(h("p", {class: "bad", role: "alert"}, error.message));
}
