"""`svc bench`: cost per request of the running service, as a ratio to a bare route."""

import json
import sys
from typing import Annotated

import typer


def bench(
    requests: Annotated[int, typer.Option(min=1, help="Requests per round.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, alternating.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a `svc run` that is running now. Exit 3 when nothing runs."""
    from service.cli.run import development_part
    from service.settings import Settings

    yardstick = development_part("bench")
    try:
        figures = yardstick.bench(Settings().var_dir, requests, rounds)
    except yardstick.NotRunning as reason:
        print(f"svc: {reason}", file=sys.stderr)
        raise typer.Exit(3) from None
    if as_json:
        print(json.dumps(figures))
        return
    for name, row in figures.items():
        print(f"{name:<12}" + "".join(f"{figure:>9} {value:<8}" for figure, value in row.items()))
