"""Asynchronous calls for synchronous programs, such as a prototype on Flask.

Copyable: needs nothing.

    loop = BlockingLoop()
    answered = loop.run(gateway.ask(task))
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BlockingLoop:
    """One event loop in a thread of its own. Safe to use from many threads at once.

    What the coroutines use, such as the HTTP client behind a gateway, must be used on no other loop. A server that
    loads the program before it forks its workers (`gunicorn --preload`, uWSGI) must make both after the fork.
    """

    def __init__(self) -> None:
        self._loop, self._made_in = asyncio.new_event_loop(), os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blocking-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raised. An interrupted caller stops the work.

        Raises `RuntimeError` where it could never answer: in a fork of the process that made it, and on its own loop.
        """
        if os.getpid() != self._made_in or threading.current_thread() is self._thread:
            work.close()
            forked = "it was made before this process was forked: make it, and the HTTP client, in each worker"
            raise RuntimeError(forked if os.getpid() != self._made_in else "run() was called on its own loop: await")
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise
