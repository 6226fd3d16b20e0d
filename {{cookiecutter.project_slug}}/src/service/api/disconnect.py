"""Work for a caller who is still there: when the client hangs up, the work is cancelled.

FastAPI runs a handler to its end whether or not anybody waits for the answer; a model call costs money meanwhile.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar, cast

from fastapi import Request
from starlette.exceptions import HTTPException

T = TypeVar("T")


class ClientGone(HTTPException):
    """Nobody is left to answer. Its status reaches the request's span and is no server error; nothing is sent."""

    def __init__(self) -> None:
        super().__init__(499)


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """The work's result. When the client goes first: cancel it, wait for its clean-up, then raise `ClientGone`.

    Only once the request's body has been read: what is received here is nothing but the end of the connection.
    """
    handler = cast("asyncio.Task[object]", asyncio.current_task())
    cancelled_before, gone = handler.cancelling(), False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        handler.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if gone and handler.cancelling() == cancelled_before + 1:
            raise ClientGone from None
        raise
    finally:
        if gone:
            handler.uncancel()
        watcher.cancel()
        await asyncio.wait((watcher,))
