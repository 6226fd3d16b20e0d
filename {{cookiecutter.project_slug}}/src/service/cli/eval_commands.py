"""`svc eval` with its subcommands."""

from service.cli.eval import DEFAULT, AtOnce, Fresh, Repeats, SuiteName, accept_local, app


@app.command()
def baseline(suite: SuiteName = DEFAULT, repeats: Repeats = 3, fresh: Fresh = False, concurrency: AtOnce = 8) -> None:
    """Accept a run, sealed cases included, as what later runs are compared with. Commit the file that it names."""
    accept_local(suite, repeats, fresh, concurrency)
