"""The API keys that `svc run` prints: one for each role, kept so that a second start prints the same ones."""

from collections.abc import Callable, Mapping

from service.integration.database.api_keys import issue_key, key_info, list_keys, revoke_key
from service.integration.database.session import Database, open_database

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
            if name in kept and key_info(database, kept[name])
            else _anew(database, f"dev-{name.replace('_', '-')}", tenant, role)
            for name, (tenant, role) in WANTED.items()
        }
    finally:
        database.close_sync()
    if keys != kept:
        write(keys)
    return keys


def _anew(database: Database, subject: str, tenant: str, role: str) -> str:
    """A subject has two valid keys at most, so those whose plain text nobody seems to have kept make room."""
    named = [key for key in list_keys(database) if (key.subject, key.tenant) == (subject, tenant)]
    for key in [key for key in named if key.state == "valid"][:-1]:
        revoke_key(database, key.id, "svc run")
    return issue_key(database, subject, tenant, {role}, actor="svc run")
