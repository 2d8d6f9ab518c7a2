"""Answers the calls that are not about numbers: pages, documents, health, metrics."""

import base64
import functools
import hashlib
import re
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common import errors
from gateway import problems
from gateway.handlers import answer
from gateway.keys import ASYNCAPI, BROKER, OPENAPI, READINESS, STORE
from gateway.models import Health

HELLO = "Hello Factor app!"
_WEB = Path(__file__).parent / "web"


@functools.cache
def _page(name: str) -> tuple[bytes, str]:
    """Return a page and a Content-Security-Policy that allows its own inline code and no other."""
    page = (_WEB / name).read_bytes()

    def hashes(tag: bytes) -> str:
        inline = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(code).digest()).decode() for code in inline)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = (
        f"default-src 'none'; script-src {hashes(b'script')}; style-src {hashes(b'style')}; "
        "connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return page, policy


def _html(name: str) -> web.Response:
    page, policy = _page(name)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "Vary": "Accept"}
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)


async def home(request: web.Request) -> web.Response:
    """Show the page to a browser; say hello to everything else."""
    if "text/html" in request.headers.get("Accept", ""):
        return _html("index.html")
    return web.Response(text=HELLO, headers={"Vary": "Accept"})


async def docs(_request: web.Request) -> web.Response:
    """Show the OpenAPI document to people."""
    return _html("docs.html")


async def openapi(request: web.Request) -> web.Response:
    """Return the OpenAPI document of all calls."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def asyncapi(request: web.Request) -> web.Response:
    """Return the AsyncAPI document of the WebSocket."""
    return web.Response(body=request.app[ASYNCAPI], content_type="application/json")


async def explain_problem(request: web.Request) -> web.Response:
    """Explain a type of problem."""
    kind = problems.KINDS.get(request.match_info["name"])
    if kind is None:
        raise problems.UnknownPage
    return web.Response(text=f"{kind.title} ({kind.status})\n\n{kind.advice}\n")


async def healthz(request: web.Request) -> web.Response:
    """Say that the process is alive, whatever it depends on."""
    return answer(Health(status="alive", broker_connected=request.app[BROKER].connected))


async def readyz(request: web.Request) -> web.Response:
    """Say whether new clients are welcome: 404 while draining, 503 while the store is down.

    A broker that is down is no reason to turn clients away: what is accepted is published later.
    """
    connected = request.app[BROKER].connected
    if request.app[READINESS].draining:
        return answer(Health(status="draining", broker_connected=connected), status=404)
    try:
        await request.app[STORE].ping()
    except errors.StoreUnavailable as error:
        return problems.response_of(error)
    return answer(Health(status="ready", broker_connected=connected))


async def metrics(_request: web.Request) -> web.Response:
    """Return what this process counts, for Prometheus."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
