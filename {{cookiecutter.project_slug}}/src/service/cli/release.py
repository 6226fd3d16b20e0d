"""`svc release`: the published releases. `svc flags set <use case>.release <name>` chooses one."""

import typer

from service.application.errors import NotFound
from service.cli.operator import READERS, AsJson, print_json, show, signed_in
from service.integration.database import releases

app = typer.Typer(help="List and show releases.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """Every published release, newest first."""
    with signed_in(*READERS) as (database, _):
        published = database.read_sync(releases.list_releases)
    names = ("name", "use_case", "digest", "published_at", "published_by")
    rows = [
        {name: getattr(row, name) for name in names} | {"prompt_version": row.bundle["prompt_version"]}
        for row in published
    ]
    show(rows, as_json, ("name", "use_case", "prompt_version", "published_at", "published_by"))


@app.command("show")
def show_release(name: str, as_json: AsJson = False) -> None:
    """One release in full: prompt, parameters, thresholds, versions."""
    with signed_in(*READERS) as (database, _):
        found = [row for row in database.read_sync(releases.list_releases) if row.name == name]
    if not found:
        raise NotFound("no release is called so")
    bundle = {"digest": found[0].digest, **found[0].bundle}
    if as_json:
        print_json(bundle)
        return
    prompt = bundle.pop("prompt", "")
    show([{"field": field, "value": value} for field, value in bundle.items()], False, ("field", "value"))
    print(f"\n{prompt}")
