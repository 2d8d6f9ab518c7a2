"""Answers a call whose handler raised an error."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.views import problems


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer with a problem whatever a handler raises."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        return problems.response_of(error)
    except ConnectionError:
        raise  # the client went away: there is nobody to answer
    except Exception as error:  # noqa: BLE001 the last resort; faults of ours are logged
        return problems.response_of(error)
