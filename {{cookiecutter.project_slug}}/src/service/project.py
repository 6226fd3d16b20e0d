"""The project's own name, from the installed distribution: Vault paths, telemetry and roles are called after it."""

from functools import lru_cache
from importlib.metadata import entry_points


@lru_cache(maxsize=1)
def slug() -> str:
    """Name of the distribution that provides the `svc` command; "service" in a tree that is not installed."""
    for command in entry_points(group="console_scripts", name="svc"):
        if command.value.startswith("service.") and command.dist is not None:
            return command.dist.name
    return "service"
