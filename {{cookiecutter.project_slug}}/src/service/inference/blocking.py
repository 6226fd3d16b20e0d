"""Asynchronous calls for synchronous programs, such as a prototype on Flask.

Copyable: needs nothing.

    loop = BlockingLoop()
    answered = loop.run(gateway.ask(task))
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BlockingLoop:
    """One event loop in a thread of its own. Safe to use from many threads at once.

    What the coroutines use, such as the HTTP client behind a gateway, must be used on no other loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="blocking-loop", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raised. An interrupted caller stops the work."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise
