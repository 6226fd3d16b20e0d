"""The `svc` command. Each subcommand is imported only when it is run, so `svc --help` is quick."""

import importlib
import sys

# name -> (where it lives, the line in `svc --help`)
COMMANDS = {
    "run": ("service.cli.run:run", "Start everything on embedded parts, for development."),
    "serve": ("service.cli.serve:serve", "Run the API process."),
    "serve-inference": ("service.cli.serve_inference:serve_inference", "Run the engine in a process of its own."),
    "worker": ("service.cli.worker:worker", "Run the worker process."),
    "migrate": ("service.cli.migrate:migrate", "Bring database and flags up to date."),
    "keys": ("service.cli.keys:app", "Create, rotate, list and revoke API keys."),
    "flags": ("service.cli.flags:app", "Switch the AI, or a part of it, off and on; see who gets what; go back."),
    "release": (
        "service.cli.release:app",
        "Prompts and models: draft, evaluate, approve, activate, canary, roll back.",
    ),
    "audit": ("service.cli.audit:app", "The audit log: verify its chain, export, let go of old rows."),
    "decisions": ("service.cli.decisions:app", "One's full payload; after an outage, ask the model again about many."),
    "privacy": ("service.cli.privacy:app", "What is held of one customer: export it, erase it."),
    "eval": ("service.cli.eval_commands:app", "Run the evaluation suite; exit 1 when it blocks. Baselines and cases."),
    "bench": ("service.cli.bench:bench", "Measure cost per request beside a bare route."),
}
OK, WRONG_USE, ENVIRONMENT = 0, 2, 3


def main() -> None:
    """Entry point. Expected errors end as one line on stderr: exit 2 for wrong use, 3 for a missing part."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help())
        sys.exit(OK)
    if name not in COMMANDS:
        print(f"svc: there is no command {name!r}; `svc --help` lists them", file=sys.stderr)
        sys.exit(WRONG_USE)
    try:
        _run(name, arguments)
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        print(f"svc: {error}", file=sys.stderr)
        sys.exit(code)


def _help() -> str:
    lines = [f"  {name:<17}{line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(["Usage: svc COMMAND [OPTIONS]", "", *lines, "", "`svc COMMAND --help` tells more."])


def _run(name: str, arguments: list[str]) -> None:
    import typer

    module, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        app = target
    else:
        app = typer.Typer(add_completion=False)
        app.command(name)(target)
    app.pretty_exceptions_enable = False  # `main` prints expected errors; the rest need a plain traceback
    app(args=arguments, prog_name=f"svc {name}")


def _expected(error: Exception) -> int | None:
    """The exit code of an error that needs no traceback, or None. Imported late: help must stay quick."""
    from service.application.errors import ApplicationError, Unavailable
    from service.inference.prompts import PromptError
    from service.integration.secrets.vault import VaultUnavailable
    from service.settings import SettingsError

    if isinstance(error, Unavailable | VaultUnavailable | PromptError):
        return ENVIRONMENT
    return WRONG_USE if isinstance(error, ApplicationError | SettingsError) else None
