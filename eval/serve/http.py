"""What the served page's routes share: the kind of body they take, and their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

# This kind makes browsers ask before another site's page may send it; nobody allows it.
KIND = "application/octet-stream"
# Who sends slower, all in all, does not keep others waiting.
GRACE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 50_000


class RequestError(ValueError):
    """Why a request gets no answer, and its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def refuse_other_kinds(request: Any, what: str) -> None:
    """Raise RequestError unless the body is of KIND, which no other site's page can send."""
    if request.headers.get("content-type") != KIND:
        raise RequestError(415, f"Expected {what} as {KIND}.")


async def receive(request: Any, *, most_bytes: int, error: RequestError) -> AsyncIterator[bytes]:
    """The body piece by piece; `error` is raised as soon as it is longer than `most_bytes`.

    A body that comes too slowly raises a RequestError, and so does a browser that goes away before
    the end, though nobody will read that one.
    """
    from starlette.requests import ClientDisconnect  # noqa: PLC0415

    num_bytes, start, pieces = 0, time.monotonic(), aiter(request.stream())
    while True:
        due = start + GRACE_SECONDS + num_bytes / LEAST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(due - time.monotonic()):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestError(408, "The body comes too slowly. Try again.") from None
        except ClientDisconnect:
            raise RequestError(400, "The connection ended before the body did.") from None
        num_bytes += len(piece)
        if num_bytes > most_bytes:
            raise error
        yield piece


def answer(content: Mapping[str, Any], *, status: int = 200) -> Any:
    """A JSON response."""
    from starlette.responses import JSONResponse  # noqa: PLC0415

    return JSONResponse(dict(content), status_code=status)


async def tell_error(request: Any, error: Exception) -> Any:
    """The response to a RequestError: its message as JSON."""
    assert isinstance(error, RequestError)
    return answer({"error": str(error)}, status=error.status)
