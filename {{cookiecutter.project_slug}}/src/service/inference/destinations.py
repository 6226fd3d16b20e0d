"""Where customers' words may go: an allow-list of model hosts, each with its region and the agreement that covers it.

Copyable: needs httpx2. Anything else is refused before a byte leaves, a redirect's target included.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

import httpx2


class BadDestination(ValueError):
    """A list that cannot be read, or a host that is not on it; the message says what to write."""


class HostNotAllowed(Exception):
    """A request was about to go to a host that is not on the list."""

    reason = "host_not_allowed"


@dataclass(frozen=True, slots=True)
class Destination:
    """A host (with its port, if it is not the scheme's), the region it is in, and the reference of the agreement."""

    host: str
    region: str
    agreement: str


def parse(text: str) -> tuple[Destination, ...]:
    """The list in "host region agreement, host region agreement". Raises `BadDestination`."""
    found = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        parts = entry.split(maxsplit=2)
        if len(parts) != 3 or "/" in parts[0]:
            raise BadDestination(f"{entry!r} is no destination: write HOST REGION AGREEMENT, separated by spaces")
        found.append(Destination(parts[0].casefold(), parts[1], parts[2]))
    return tuple(found)


def host_of(url: str) -> str:
    """Host, and port if one is given, as the list names them."""
    return httpx2.URL(url).netloc.decode("ascii").casefold()


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = httpx2.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_private(text: str) -> bool:
    """Whether it is an IP address of one's own network: a part of the service's, and nobody's in person."""
    try:
        return ip_address(text).is_private
    except ValueError:
        return False


def only(hosts: Iterable[str]) -> Callable[[httpx2.Request], Awaitable[None]]:
    """A request hook for httpx2 that raises `HostNotAllowed` for every host but these."""
    allowed = frozenset(hosts)

    async def check(request: httpx2.Request) -> None:
        if request.url.netloc.decode("ascii").casefold() not in allowed:
            raise HostNotAllowed("this host is not in MODEL_HOSTS")

    return check
