"""Makes the AsyncAPI 3 document of the WebSocket from the messages that it reads and writes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.api import openapi
from gateway.websocket.messages import CLIENT_MESSAGES, SERVER_MESSAGES

_REFERENCE = "#/components/schemas/{name}"


def name_of(message: type[msgspec.Struct]) -> str:
    """Return the ``type`` of a message."""
    return str(message.__struct_config__.tag)


def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    messages = (*CLIENT_MESSAGES, *SERVER_MESSAGES)
    _, schemas = msgspec.json.schema_components(messages, ref_template=_REFERENCE)
    names = [name_of(message) for message in messages]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Factorline",
            "version": "1",
            "description": "Follow tasks live. Offer the subprotocol factorline.v1 and send text frames. "
            "An API key comes with the handshake, or in the first frame.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "fromClient": _operation("receive", CLIENT_MESSAGES),
            "toClient": _operation("send", SERVER_MESSAGES),
        },
        "components": {
            "messages": {name_of(message): _message(message) for message in messages},
            "schemas": schemas,
            "securitySchemes": {openapi.SCHEME: openapi.BEARER},
        },
    }


def _operation(action: str, messages: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    references = [{"$ref": f"#/channels/ws/messages/{name_of(message)}"} for message in messages]
    return {
        "action": action,
        "channel": {"$ref": "#/channels/ws"},
        "messages": references,
        "security": [{"$ref": f"#/components/securitySchemes/{openapi.SCHEME}"}],
    }


def _message(message: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": name_of(message),
        "summary": (message.__doc__ or "").split("\n", 1)[0],
        "payload": {"$ref": _REFERENCE.format(name=message.__name__)},
    }
