// Shows the OpenAPI document to people.

import {call} from "./api.js";
import {byId, h} from "./dom.js";

const named = content => Object.entries(content ?? {}).map(([type, {schema}]) =>
  type + (schema?.$ref ? ` ${schema.$ref.split("/").pop()}` : "")).join(", ");

const table = (caption, rows) => rows.length ? h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": caption},
  h("table", {class: "results"}, h("caption", {}, caption),
    h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", {scope: "row"}, name), cells.map(cell => h("td", {}, cell))))))) : null;

function describe(path, method, operation) {
  return h("details", {},
    h("summary", {}, h("b", {}, method.toUpperCase()), " ", h("code", {}, path), " ", h("span", {class: "muted"}, operation.summary)),
    operation.requestBody ? h("p", {}, `Body: ${named(operation.requestBody.content)}`) : null,
    table("Parameters", operation.parameters.map(parameter => [parameter.name, parameter.in, parameter.description])),
    table("Answers", Object.entries(operation.responses).map(([status, answer]) => [status, answer.description, named(answer.content)])));
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
