"""Serves the files of the page. They are read once, and browsers cache them for good under their digest."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from aiohttp import ETag, web

from gateway.views import problems

_FOLDER = Path(__file__).parents[1] / "web"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_THIS_VERSION = b"/web/@/"
"""How pages refer to their files; the digest replaces the @ sign."""

FOREVER = "public, max-age=31536000, immutable"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Asset(NamedTuple):
    """A file as it is sent."""

    body: bytes
    content_type: str
    etag: str


@functools.cache
def load() -> tuple[str, dict[str, Asset]]:
    """Return the version of the page, and its files by name.

    The version is in the path and not in a query, so that the relative imports of modules and the
    relative addresses of fonts lead to files of the same version.
    """
    bodies = {
        path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES
    }
    digest = hashlib.sha256(b"\0".join(part for pair in bodies.items() for part in _flat(pair)))
    version = digest.hexdigest()[:16]
    return version, {name: _asset(name, body, version) for name, body in bodies.items()}


def _flat(pair: tuple[str, bytes]) -> tuple[bytes, bytes]:
    return pair[0].encode(), hashlib.sha256(pair[1]).digest()


def _asset(name: str, body: bytes, version: str) -> Asset:
    content_type = _TYPES[Path(name).suffix]
    if content_type == "text/html":
        body = body.replace(_THIS_VERSION, f"/web/{version}/".encode())
    return Asset(body, content_type, hashlib.sha256(body).hexdigest()[:16])


async def serve(request: web.Request) -> web.Response:
    """Return a file of the page.

    During an upgrade a page of one gateway may ask another gateway for its files. It gets that gateway's
    version of them, which the browser does not cache.
    """
    version, files = load()
    name = request.match_info["file"]
    if name not in files:
        raise problems.UnknownPage
    current = request.match_info["version"] == version
    return respond(name, request.if_none_match, cache=FOREVER if current else "no-cache")


def respond(
    name: str, if_none_match: Iterable[ETag] | None, *, cache: str = "no-cache"
) -> web.Response:
    """Return a file, or 304 if the browser holds it."""
    _, files = load()
    body, content_type, etag = files[name]
    headers = {"Cache-Control": cache}
    if content_type == "text/html":
        headers |= {"Content-Security-Policy": POLICY, "Vary": "Accept"}
    held = any(tag.value == etag for tag in if_none_match or ())
    response = web.Response(status=304 if held else 200, headers=headers)
    response.etag = ETag(etag)
    if not held:
        response.body = body
        response.content_type = content_type
        if content_type.startswith("text/"):
            response.charset = "utf-8"
    return response
