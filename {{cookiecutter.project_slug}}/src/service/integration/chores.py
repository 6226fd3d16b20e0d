"""What a worker does again and again, besides its jobs. Each chore keeps its own time; none can stop another.

Not scheduled workflows of the job engine: one every two seconds would leave 43,200 rows a day and cost more than the
chore, and what repairs the engine's losses should not depend on the engine. The same chore runs in every worker, so
it must bear company.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from opentelemetry.instrumentation.utils import suppress_instrumentation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """`run` is called with the time in UTC, then again `every_s` seconds after it has ended."""

    name: str
    every_s: float
    run: Callable[[datetime], Awaitable[object]]


async def keep_doing(chore: Chore) -> None:
    """Until cancelled. What fails is logged and tried again at the next turn."""
    while True:
        try:
            with suppress_instrumentation():  # a trace every two seconds would bury those of requests
                await chore.run(datetime.now(UTC))
        except Exception as error:  # the database may be away; the next turn makes up for it
            log.warning("%s failed: %s: %s", chore.name, type(error).__name__, error)
        await asyncio.sleep(chore.every_s)
