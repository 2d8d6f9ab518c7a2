"""The client's types and calls against the documents that a running service shows."""

import re
from typing import Any

import aiohttp
import msgspec
import pytest
from jsonschema import Draft202012Validator

from factorline import Client, models, watching

OURS = {
    "TaskView": models.Task,
    "TaskPage": models.TaskPage,
    "NumberView": models.KnownNumber,
    "BatchItem": models.BatchItem,
    "BatchResult": models.BatchResult,
    "Problem": models.Problem,
    "Health": models.Health,
    "Factor": models.Factor,
    "Composite": models.Composite,
    "Progress": models.Progress,
    "CurveProgress": models.CurveProgress,
    "SieveProgress": models.SieveProgress,
    "MatrixProgress": models.MatrixProgress,
    "Waiting": models.Waiting,
    "TaskLinks": models.TaskLinks,
    "NumberLinks": models.NumberLinks,
}
"""Schema of the service → type of the client."""
CALLS = {
    ("post", "/factor"),
    ("get", "/tasks/{task_id}"),
    ("delete", "/tasks/{task_id}"),
    ("get", "/tasks"),
    ("post", "/tasks/batch"),
    ("get", "/numbers/{number}"),
    ("get", "/ws"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}
HEADERS = {
    ("post", "/factor"): {"Idempotency-Key", "Prefer"},
    ("post", "/tasks/batch"): {"Idempotency-Key"},
    ("get", "/tasks/{task_id}"): {"If-None-Match", "wait"},
    ("get", "/tasks"): {"cursor", "limit"},
}


@pytest.fixture
async def openapi(url: str) -> dict[str, Any]:
    """Return the OpenAPI document of the service."""
    return await document(f"{url}/openapi.json")


@pytest.fixture
async def asyncapi(url: str) -> dict[str, Any]:
    """Return the AsyncAPI document of the service."""
    return await document(f"{url}/asyncapi.json")


async def document(address: str) -> dict[str, Any]:
    """Return a JSON document."""
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        found: dict[str, Any] = await response.json()
        return found


def kinds(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """Return the kinds of a member: JSON types, and the names of our types for references."""
    found: set[str] = set()
    for choice in schema.get("anyOf", [schema]):
        if "$ref" in choice:
            name = choice["$ref"].rpartition("/")[2]
            target = schemas[name]
            found |= {"string"} if "enum" in target else {OURS[name].__name__}
        elif choice.get("type") == "array":
            found |= {f"[{kind}]" for kind in kinds(choice["items"], schemas)}
        else:
            found.add(choice.get("type", "null" if choice.get("enum") == [None] else "any"))
    return found


def own_kinds(schema: dict[str, Any]) -> set[str]:
    """Return the same for one of our schemas."""
    found: set[str] = set()
    for choice in schema.get("anyOf", [schema]):
        if "$ref" in choice:
            found.add(choice["$ref"].rpartition("/")[2])
        elif choice.get("type") == "array":
            found |= {f"[{kind}]" for kind in own_kinds(choice["items"])}
        else:
            found.add(choice.get("type", "any"))
    return found


@pytest.mark.parametrize("name", OURS)
def test_types_agree_both_ways(openapi: dict[str, Any], name: str) -> None:
    """Our types have exactly the members of the service's, of the same kinds.

    What the service may leave out has a default with us.
    """
    theirs = openapi["components"]["schemas"]
    _, ours = msgspec.json.schema_components([OURS[name]], ref_template="#/{name}")
    own = ours[OURS[name].__name__]
    schema = theirs[name]

    assert schema["properties"].keys() == own["properties"].keys()
    assert set(own.get("required", [])) <= set(schema.get("required", []))
    for member, described in schema["properties"].items():
        assert kinds(described, theirs) == own_kinds(own["properties"][member]), member


def test_every_schema_of_a_response_has_a_type(openapi: dict[str, Any]) -> None:
    """Every response to a call of the client is one of our types."""
    used = set()
    for method, path in CALLS:
        answers = openapi["paths"][path][method]["responses"]
        used |= set(re.findall(r"schemas/(\w+)", str(answers)))

    assert used <= OURS.keys()


def test_calls_and_parameters_exist(openapi: dict[str, Any]) -> None:
    """The service offers every call that the client makes, with the parameters that it sends."""
    for method, path in CALLS:
        assert method in openapi["paths"][path], path
    for (method, path), sent in HEADERS.items():
        offered = {parameter["name"] for parameter in openapi["paths"][path][method]["parameters"]}
        assert sent <= offered, path


def test_what_the_client_sends_is_described(openapi: dict[str, Any]) -> None:
    """The bodies of submissions match the schemas."""
    schemas = openapi["components"]["schemas"]
    for name, body in (("FactorRequest", {"number": "15"}), ("BatchRequest", {"numbers": ["1"]})):
        Draft202012Validator({**schemas[name], "components": {"schemas": schemas}}).validate(body)


def test_frames_agree_both_ways(asyncapi: dict[str, Any]) -> None:
    """We can decode every frame of the service, and the service accepts the frame that we send."""
    schemas = asyncapi["components"]["schemas"]
    names = {
        entry["$ref"].rpartition("/")[2] for entry in asyncapi["operations"]["toClient"]["messages"]
    }
    assert {"hello", "authenticated", "snapshot", "update", "done", "error", "pong"} == names
    for name in names:
        properties = schemas[name.capitalize()]["properties"]
        known = {"type", "id", "heartbeat_s", *watching.Frame.__struct_fields__}
        assert properties.keys() <= known
    subscribe = {"type": "subscribe", "task_ids": ["x"]}
    Draft202012Validator(schemas["Subscribe"]).validate(subscribe)
    assert "subscriptions" in schemas["SocketLimits"]["required"]


async def test_the_service_sends_what_it_describes(client: Client, openapi: dict[str, Any]) -> None:
    """A task that went through our types still matches the schema of the service."""
    task = await client.submit(360, wait_s=20)
    schemas = openapi["components"]["schemas"]
    reference = {"$ref": "#/components/schemas/TaskView", "components": {"schemas": schemas}}

    Draft202012Validator(reference).validate(msgspec.to_builtins(task))
