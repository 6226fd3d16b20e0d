"""`svc eval drift`: whether live answers are what they were, and how many are right."""

from dataclasses import asdict
from typing import Annotated

import typer

from service import bootstrap_live
from service.application.decision import JsonObject
from service.cli.operator import READERS, AsJson, print_json, show, signed_in
from service.evaluation import accuracy
from service.evaluation.drift import FEWEST, WINDOW, Answer, State
from service.evaluation.suites import SuiteError, load_suite
from service.integration.database.migrate import project_root
from service.integration.database.observed import Observed

PAGE, NOTHING = 1, 3


def drift(
    release: Annotated[str, typer.Option(help="Else the active one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare the newest live answers with the first ones under the same release. Exit 1: it has moved, 3: too few."""
    with signed_in(*READERS) as (database, _):
        seen = database.read_sync(lambda session: bootstrap_live.observed(session, release))
    monitors = [asdict(monitor) for monitor in bootstrap_live.monitors(seen)]
    found: JsonObject = {"monitors": monitors, "accuracy": _accuracy(seen), "mix": _mix(seen.newest)}
    if as_json:
        print_json(found)
    else:
        _print(found)
    states = {monitor["state"] for monitor in monitors}
    raise typer.Exit(PAGE if State.PAGE in states else NOTHING if states == {State.TOO_FEW} else 0)


def _accuracy(seen: Observed[Answer]) -> list[JsonObject]:
    """Each disposition, then all answers."""
    strata = [accuracy.Stratum(name, *counts) for name, counts in sorted(seen.verdicts.items())]
    rows = [asdict(stratum) | asdict(accuracy.of_one(stratum)) for stratum in strata]
    sums = {name: sum(getattr(s, name) for s in strata) for name in ("answers", "decided", "approved")}
    return [*rows, {"disposition": "all", **sums, **asdict(accuracy.overall(strata))}]


def _mix(newest: list[Answer]) -> list[JsonObject]:
    """Live labels beside the suite's, which is not meant to be alike but must know all that is common."""
    try:
        suites = [load_suite(folder) for folder in sorted((project_root() / "evals").glob("*/"))]
    except SuiteError:
        return []
    told = [case.expected.categories[0].value for suite in suites for case in suite.cases]
    labels = sorted({answer.label for answer in newest})
    return [
        {"label": label, "live": _share([a.label for a in newest], label), "suite": _share(told, label)}
        for label in labels
    ]


def _share(labels: list[str], label: str) -> float:
    return round(labels.count(label) / len(labels), 3) if labels else 0.0


def _print(found: JsonObject) -> None:
    rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in found["monitors"]]
    show(rounded, False, ("name", "reference", "recent", "statistic", "p", "effect", "state"))
    if any(row["state"] == State.TOO_FEW for row in rounded):
        print(f"too_few: it takes {FEWEST} answers to compare with, and {2 * WINDOW} after them")
    print(
        "\nApproved as they were, of those a person decided (95 %). What is sent to people is a biased sample: of what"
    )
    print("passes without one a random share is reviewed (REVIEW_SAMPLE), and `all` weighs each kind by its answers.")
    rows = [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in found["accuracy"]]
    show(rows, False, ("disposition", "answers", "decided", "approved", "rate", "low", "high"))
    if found["mix"]:
        print("\nShare of the newest answers, and of the suite's cases:")
        show(found["mix"], False, ("label", "live", "suite"))
