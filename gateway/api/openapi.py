"""Makes the OpenAPI 3.1 document from the table of calls and their models."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.access import Access
from gateway.api.routes import Parameter, Route
from gateway.views import models
from gateway.views.problems import CONTENT_TYPE, KINDS

SCHEME = "apiKey"
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key as `factorline keys make` prints it: fl_ and 43 characters. It is needed "
    "if the service runs with FACTORLINE_KEYS. A key may be read-only, expire, or be usable from certain "
    "networks only.",
}
_REFERENCE = "#/components/schemas/{name}"
TOO_MANY = 429
_LIMIT_HEADERS = {
    name: {"description": says, "schema": {"type": "string"}}
    for name, says in (
        (
            "RateLimit-Policy",
            "The limits of the API key (draft-ietf-httpapi-ratelimit-headers-10).",
        ),
        ("RateLimit", "What is left within those limits."),
        ("Retry-After", "Seconds to wait before the next attempt."),
    )
}
_SITES = ("origin-refused", "host-refused")
_KEYED = (*_SITES, "unauthenticated", "too-many-requests", "store-unavailable")
_AT_THE_DOOR = {
    Access.PUBLIC: _SITES,
    Access.OWNER: _KEYED,
    Access.WRITER: (*_KEYED, "not-allowed"),
    Access.OPERATOR: (*_KEYED, "not-allowed"),
}
"""Problems that a call has because of what it requires of its caller."""


def document(
    routes: Iterable[Route], *, keys: bool = False, version: str = "unknown"
) -> dict[str, Any]:
    """Return the OpenAPI document of the calls.

    Args:
        routes: The calls.
        keys: Whether the service requires API keys. If not, the document makes them optional.
        version: The version of the service.

    """
    routes = tuple(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route, keys=keys)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Factorline",
            "version": version,
            "description": "Factors integers. Submit a number, get a task at once, follow it until it ends.",
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {"schemas": _schemas(routes), "securitySchemes": {SCHEME: BEARER}},
    }


def path_of(route: Route) -> str:
    """Return the path of a call without the regular expressions of its parameters."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)


def _schemas(routes: tuple[Route, ...]) -> dict[str, Any]:
    found: set[type] = {models.Problem}
    for route in routes:
        found |= {
            model for model in (*route.answers.values(), route.body) if isinstance(model, type)
        }
    ordered = sorted(found, key=lambda model: model.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    return schemas


def _operation(route: Route, *, keys: bool) -> dict[str, Any]:
    summary = (route.handler.__doc__ or "").split("\n", 1)[0]
    made: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", ""),
        "summary": summary,
        "parameters": [_parameter(parameter) for parameter in route.parameters],
        "responses": _responses(route),
        "security": _security(route.access, keys=keys),
    }
    if route.body is not None:
        content = {"application/json": {"schema": _reference(route.body)}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _security(access: Access, *, keys: bool) -> list[dict[str, list[str]]]:
    if access is Access.PUBLIC:
        return []
    return [{SCHEME: []}] if keys else [{SCHEME: []}, {}]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.says,
        "schema": dict(parameter.schema),
    }


def _responses(route: Route) -> dict[str, Any]:
    responses = {str(status): _answer(answer) for status, answer in route.answers.items()}
    for name in dict.fromkeys((*route.problems, *_AT_THE_DOOR[route.access])):
        kind = KINDS[name]
        response = responses.setdefault(
            str(kind.status), {"description": "", "content": {CONTENT_TYPE: _problem_schema()}}
        )
        if kind.status == TOO_MANY:
            response["headers"] = _LIMIT_HEADERS
        response["description"] = "; ".join(filter(None, [response["description"], kind.title]))
    responses["default"] = {
        "description": "Any other problem",
        "content": {CONTENT_TYPE: _problem_schema()},
    }
    return responses


def _answer(answer: type[msgspec.Struct] | str | None) -> dict[str, Any]:
    if answer is None:
        return {"description": "No body"}
    if isinstance(answer, str):
        return {"description": answer, "content": {answer: {}}}
    content = {"application/json": {"schema": _reference(answer)}}
    return {"description": (answer.__doc__ or "").split("\n", 1)[0], "content": content}


def _problem_schema() -> dict[str, Any]:
    return {"schema": _reference(models.Problem)}


def _reference(model: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=model.__name__)}
