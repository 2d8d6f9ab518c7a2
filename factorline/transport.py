"""HTTP requests that are retried until they are answered (each is safe to repeat), and WebSockets."""

import asyncio
import os
import time
import urllib.parse
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from factorline.backoff import Backoff, retry_after_s
from factorline.errors import (
    FactorlineError,
    InvalidURL,
    NotFactorline,
    Unavailable,
    Unreachable,
    refused,
)
from factorline.models import Problem

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""A response that takes longer than this, and than the wait asked for, is considered lost."""
PROBLEM = "application/problem+json"
SUBPROTOCOL = "factorline.v1"
HEARTBEAT_SECONDS = 20.0

_UNKNOWN_CALL = frozenset({"not-found", "method-not-allowed"})
_RETRIED = frozenset({408, 429, 502, 503, 504})

Answer = TypeVar("Answer")


class Response:
    """A complete response: status, headers and body."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body

    def read(self, kind: type[Answer]) -> Answer:
        """Return the body as a value; raise the error that a problem stands for, or `NotFactorline`."""
        if self.status >= 400:  # noqa: PLR2004 client and server errors begin there
            raise self.error()
        if self.status >= 300:  # noqa: PLR2004 redirections begin there
            raise NotFactorline(self.url, f"it redirects to {self.headers.get('Location')}")
        return self._decoded(kind)

    @property
    def retry_after_s(self) -> float:
        """How many seconds the service asks the client to wait."""
        return retry_after_s(self.headers.get("Retry-After"))

    def error(self) -> FactorlineError:
        """Return the error that the response stands for."""
        if not self.headers.get("Content-Type", "").startswith(PROBLEM):
            if self.status in _RETRIED:  # from a load balancer that has no gateway
                return self._unavailable("it gives no reason.")
            return NotFactorline(
                self.url, f"its error (status {self.status}) is not an RFC 9457 problem"
            )
        try:
            problem = self._decoded(Problem)
        except NotFactorline as error:
            return error
        if self.status in _RETRIED or self.status >= 500:  # noqa: PLR2004 faults of the server
            return self._unavailable(problem.detail)
        if problem.name in _UNKNOWN_CALL:
            return NotFactorline(self.url, f"it does not know the call ({problem.detail})")
        return refused(problem)

    def _unavailable(self, detail: str) -> Unavailable:
        return Unavailable(self.url, self.status, detail, retry_after_s=self.retry_after_s)

    def _decoded(self, kind: type[Answer]) -> Answer:
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise NotFactorline(self.url, f"its response cannot be decoded ({error})") from error


class Transport:
    """A session with one service: requests with retries, and WebSockets."""

    def __init__(self, url: str, api_key: str | None, *, retry_for_s: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise InvalidURL(url)
        self.url = url.rstrip("/")
        self._retry_for_s = retry_for_s
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None
        self.answered = False
        """Whether the service has ever answered, which shows that the URL is right."""

    async def __aenter__(self) -> Self:
        """Open the session. This sends nothing."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with Client() as client:`")
        return self._session

    async def request(  # noqa: PLR0913 the parts of a request
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        wait_s: float = 0.0,
        retry_for_s: float | None = None,
    ) -> Response:
        """Send a request until it is answered, and return the response, which may be a refusal.

        Args:
            method: Of HTTP.
            path: Below the URL of the service.
            params: The query.
            headers: Besides the API key.
            body: A value to be sent as JSON.
            wait_s: How long the request itself allows the service to take.
            retry_for_s: How long to retry, if not as long as usual.

        Raises:
            Unreachable: There was no response for `retry_for_s` seconds.
            Unavailable: The service kept answering that it cannot serve the request now.

        """
        retry_for_s = self._retry_for_s if retry_for_s is None else retry_for_s
        deadline = time.monotonic() + retry_for_s
        backoff = Backoff()
        while True:
            pause_s = 0.0
            failure: FactorlineError
            try:
                response = await self._once(
                    method, path, params=params, headers=headers, body=body, wait_s=wait_s
                )
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failure = _unreachable(self.url, error)
            else:
                if response.status not in _RETRIED:
                    return response
                failure = response.error()
                pause_s = response.retry_after_s
            pause_s = backoff.next_s(at_least_s=pause_s)
            if time.monotonic() + pause_s > deadline:
                raise failure
            await asyncio.sleep(pause_s)

    async def _once(  # noqa: PLR0913 the parts of a request
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: object,
        wait_s: float,
    ) -> Response:
        data = None if body is None else msgspec.json.encode(body)
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if data else {})}
        async with (
            asyncio.timeout(ANSWER_SECONDS + wait_s),
            self.session.request(
                method,
                self.url + path,
                params=params,
                headers=sent,
                data=data,
                allow_redirects=False,  # a POST would become a GET, and the key would go to another host
            ) as response,
        ):
            body = await response.read()
            self.answered = True
            return Response(self.url, response.status, response.headers, body)

    async def socket(self) -> aiohttp.ClientWebSocketResponse[bool]:
        """Open a WebSocket; raise `aiohttp.ClientError`, OSError or TimeoutError if that fails."""
        async with asyncio.timeout(CONNECT_SECONDS):
            return await self.session.ws_connect(
                f"{self.url}/ws",
                protocols=(SUBPROTOCOL,),
                heartbeat=HEARTBEAT_SECONDS,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )


def _unreachable(url: str, error: Exception) -> Unreachable:
    if isinstance(error, TimeoutError):
        return Unreachable(url, "timed out")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # negative if the host name cannot be resolved
        return Unreachable(url, os.strerror(number) if number > 0 else error.os_error.strerror)
    return Unreachable(url, str(error) or type(error).__name__)
