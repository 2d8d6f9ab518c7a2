"""The OpenAPI and AsyncAPI documents describe the calls, answers and messages that there are."""

import re
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from jsonschema import Draft202012Validator

from gateway.api import asyncapi, openapi
from gateway.api.routes import ROUTES
from gateway.views import problems
from gateway.websocket.messages import CLIENT_MESSAGES, SERVER_MESSAGES

Client = TestClient[web.Request, web.Application]
DOCUMENT = openapi.document(ROUTES)


def check(name: str, value: object, document: dict[str, Any] = DOCUMENT) -> None:
    """Raise unless a value fits a schema of the document."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    Draft202012Validator({**reference, "components": document["components"]}).validate(value)


async def test_calls_and_document_agree(client: Client) -> None:
    """The document describes exactly the calls that the router has."""
    app = client.app
    assert app is not None
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (method.upper(), path) for path, calls in DOCUMENT["paths"].items() for method in calls
    }

    assert served == described


async def test_documents_are_served(client: Client) -> None:
    """The served documents are those that are tested here."""
    assert DOCUMENT == await (await client.get("/openapi.json")).json()
    assert asyncapi.document() == await (await client.get("/asyncapi.json")).json()


def test_schemas_are_json_schema() -> None:
    """Every schema is valid, and every reference leads somewhere."""
    for document in (DOCUMENT, asyncapi.document()):
        schemas = document["components"]["schemas"]
        for schema in schemas.values():
            Draft202012Validator.check_schema(schema)
        used = re.findall(rb"#/components/schemas/(\w+)", msgspec.json.encode(document))
        assert {name.decode() for name in used} <= schemas.keys()


@pytest.mark.parametrize(
    ("method", "path", "body", "model"),
    [
        ("POST", "/factor", {"number": -15}, "TaskView"),
        ("POST", "/factor", {"number": 0}, "TaskView"),
        ("POST", "/factor", {"number": "x"}, "Problem"),
        ("POST", "/tasks/batch", {"numbers": [91, "x"]}, "BatchResult"),
        ("GET", "/tasks", None, "TaskPage"),
        ("GET", "/numbers/91", None, "NumberView"),
        ("GET", "/nowhere", None, "Problem"),
        ("GET", "/healthz", None, "Health"),
        ("GET", "/readyz", None, "Health"),
    ],
)
async def test_answers_fit_their_schemas(
    client: Client, method: str, path: str, body: object, model: str
) -> None:
    """Answers are valid under the schemas of the document."""
    check(model, await (await client.request(method, path, json=body)).json())


async def test_a_task_fits_its_schema_everywhere(client: Client) -> None:
    """So do its result in one string, its number, and the task once it is cancelled."""
    task = await (await client.post("/factor", json={"number": 91})).json()
    check("Legacy", await (await client.get(task["links"]["legacy"])).json())
    check("TaskView", await (await client.get(task["links"]["self"])).json())
    check("NumberView", await (await client.get(task["links"]["number"])).json())
    check("TaskView", await (await client.delete(task["links"]["self"])).json())


def test_requests_of_the_document_are_taken() -> None:
    """A request's number may be an integer or a string, and not a float or a boolean."""
    check("FactorRequest", {"number": 2**200})
    check("FactorRequest", {"number": "2^200"})
    schema = DOCUMENT["components"]["schemas"]["FactorRequest"]
    assert not Draft202012Validator(schema).is_valid({"number": 1.5})
    assert not Draft202012Validator(schema).is_valid({"number": True})


async def test_every_problem_has_a_page(client: Client) -> None:
    """The type of a problem is the address of its explanation; an invented one is 404."""
    for name in problems.KINDS:
        response = await client.get(f"/problems/{name}")
        assert 200 == response.status
        assert problems.KINDS[name].title in await response.text()
    assert 404 == (await client.get("/problems/invented")).status


def test_messages_and_document_agree() -> None:
    """Every message is described with its fields, on the side that sends it."""
    document = asyncapi.document()
    sides = {"fromClient": CLIENT_MESSAGES, "toClient": SERVER_MESSAGES}
    for operation, messages in sides.items():
        listed = [entry["$ref"] for entry in document["operations"][operation]["messages"]]
        names = [asyncapi.name_of(message) for message in messages]
        assert [f"#/channels/ws/messages/{name}" for name in names] == listed
    for message in (*CLIENT_MESSAGES, *SERVER_MESSAGES):
        schema = document["components"]["schemas"][message.__name__]
        assert set(message.__struct_encode_fields__) <= schema["properties"].keys()
