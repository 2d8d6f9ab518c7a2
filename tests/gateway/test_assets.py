"""The page's files have the right types and are cached under their version; nothing else is reachable."""

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.http import assets

Client = TestClient[web.Request, web.Application]
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


async def addresses(client: Client, path: str = "/") -> list[str]:
    """Return the addresses of all files that a page of the service names."""
    page = await (await client.get(path, headers=BROWSER)).text()
    return re.findall(r'(?:href|src)="(/web/[^"]+)"', page)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_refers_to_files_that_browsers_cache_for_good(
    client: Client, path: str
) -> None:
    """Each file is there under its version, with its type and an entity tag."""
    named = await addresses(client, path)
    assert named
    for address in named:
        response = await client.get(address)
        assert 200 == response.status, address
        assert assets.FOREVER == response.headers["Cache-Control"]
        assert response.headers["ETag"]
        assert assets._TYPES["." + address.rpartition(".")[2]] == response.content_type  # noqa: SLF001


def test_every_file_is_used_and_every_use_is_a_file() -> None:
    """The files are exactly those that pages, modules and styles refer to."""
    _, files = assets.load()
    texts = b"".join(body for body, kind, _ in files.values() if kind.startswith("text/")).decode()
    named = re.findall(r"""(?:/web/[0-9a-f]+/|from "\./|url\(")([\w.]+)""", texts)

    assert {name for name in files if not name.endswith(".html")} == set(named)


async def test_a_file_that_is_held_is_not_sent_again(client: Client) -> None:
    """If-None-Match gives 304 without a body, for a page too."""
    for address in ["/", *await addresses(client)]:
        first = await client.get(address, headers=BROWSER)
        again = await client.get(
            address, headers={**BROWSER, "If-None-Match": first.headers["ETag"]}
        )
        assert (304, b"") == (again.status, await again.read())
        assert first.headers["Cache-Control"] == again.headers["Cache-Control"]


async def test_another_version_is_served_and_not_cached(client: Client) -> None:
    """During an upgrade the page of another gateway gets this one's files, and browsers do not cache them."""
    response = await client.get("/web/0123456789abcdef/main.js")

    assert (200, "no-cache") == (response.status, response.headers["Cache-Control"])


@pytest.mark.parametrize(
    "path", ["/web/x/none.js", "/web/x/README.md", "/web/x/..%2Fassets.py", "/web/x/%2e%2e"]
)
async def test_nothing_else_is_reachable(client: Client, path: str) -> None:
    """Anything that is not a file of the page is 404."""
    assert 404 == (await client.get(path)).status


async def test_the_policy_allows_no_inline_code_and_no_other_host(client: Client) -> None:
    """Scripts, styles, fonts and connections are the service's own, and no site can frame the page."""
    for path in ("/", "/docs"):
        policy = (await client.get(path, headers=BROWSER)).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*|data:|blob:", policy)


async def test_curl_is_greeted(client: Client) -> None:
    """Without text/html in Accept the home page is one line of text."""
    response = await client.get("/")

    assert "Hello Factor app!\n" == await response.text()
    assert "Accept" == response.headers["Vary"]
