"""The API keys that `svc run` prints: one for each role, kept so that a second start prints the same ones."""

from collections.abc import Callable, Mapping

from service.integration.database.api_keys import issue_key, key_exists
from service.integration.database.session import open_database

# key name -> (tenant, role)
WANTED = {
    "caller": ("demo", "caller"),
    "reviewer": ("demo", "reviewer"),
    "operator": ("demo", "operator"),
    "auditor": ("demo", "auditor"),
    "other_tenant": ("other", "caller"),
}


def development_keys(
    database_url: str, read: Callable[[], Mapping[str, str]], write: Callable[[Mapping[str, str]], None]
) -> dict[str, str]:
    """The five keys in plain text. Those that are not kept, or that this database does not know, are issued anew."""
    kept = read()
    database = open_database(database_url)
    try:
        keys = {
            name: kept[name]
            if name in kept and key_exists(database, kept[name])
            else issue_key(database, f"dev-{name.replace('_', '-')}", tenant, {role}, actor="svc run")
            for name, (tenant, role) in WANTED.items()
        }
    finally:
        database.close_sync()
    if keys != kept:
        write(keys)
    return keys
