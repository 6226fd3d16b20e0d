"""`svc release`: the published releases. `svc flags set <use case>.release <name>` chooses one."""

from typing import Annotated

import typer

from service.application.errors import NotFound
from service.cli.operator import opened, print_json, print_table, reader
from service.integration.database import releases

app = typer.Typer(help="List and show releases.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """Every published release, newest first."""
    with opened() as (config, database):
        reader(config, database)
        rows = database.read_sync(releases.list_releases)
    if as_json:
        names = ("name", "use_case", "digest", "published_at", "published_by")
        print_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    print_table(
        ("NAME", "USE CASE", "PROMPT", "PUBLISHED", "BY"),
        [
            (
                row.name,
                row.use_case,
                row.bundle.get("prompt_version"),
                row.published_at.isoformat(timespec="seconds"),
                row.published_by,
            )
            for row in rows
        ],
    )


@app.command()
def show(name: str, as_json: AsJson = False) -> None:
    """One release in full: prompt, parameters, thresholds, versions."""
    with opened() as (config, database):
        reader(config, database)
        found = [row for row in database.read_sync(releases.list_releases) if row.name == name]
    if not found:
        raise NotFound("no release is called so")
    bundle = {"digest": found[0].digest, **found[0].bundle}
    if as_json:
        print_json(bundle)
        return
    prompt = bundle.pop("prompt", "")
    print_table(("FIELD", "VALUE"), list(bundle.items()))
    print(f"\n{prompt}")
