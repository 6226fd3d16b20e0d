"""`svc privacy`: what is held of one customer, told or erased, by the running service: commands have no key."""

import sys
from typing import Annotated

import typer

from service.application.decision import JsonObject
from service.cli.operator import AsJson, print_json, running_service

app = typer.Typer(help="One customer's data.", no_args_is_help=True, add_completion=False)
Customer = Annotated[str, typer.Option(help="The customer, as requests name it in customer_ref.")]
Tenant = Annotated[str, typer.Option(help="The customer's tenant; SVC_API_KEY must be of one of its operators.")]
Url = Annotated[str | None, typer.Option(help="The service; else SVC_URL; else the `svc run` of VAR_DIR.")]


@app.command()
def export(customer: Customer, tenant: Tenant, url: Url = None) -> None:
    """Print everything, as JSON: messages, model calls, outcomes, reviews, writes."""
    with running_service(url) as ask:
        print_json(ask("POST", "/v1/privacy/export", json={"customer_ref": customer, "tenant": tenant}))


@app.command()
def erase(
    customer: Customer,
    tenant: Tenant,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only counted.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Erase what the customer wrote. The audit log keeps ids and digests, and that this was done."""
    with running_service(url) as ask:
        body = {"customer_ref": customer, "tenant": tenant, "dry_run": not yes}
        report = ask("POST", "/v1/privacy/erase", json=body)
    if as_json:
        print_json(report)
    else:
        _tell(report)
    if not yes:
        print("nothing was erased: say --yes", file=sys.stderr)


def _tell(report: JsonObject) -> None:
    counts = report["counts"] or {"decisions": 0}
    print("erased:" if report["erased"] else "would be erased:")
    for kind, number in counts.items():
        print(f"  {number:6} {kind.replace('_', ' ')}")
    for effect in report["downstream"]:
        print(f"  downstream: {effect['key']} {effect['reference'] or '(perhaps)'}")
    print("out of reach:", *report["out_of_reach"], sep="\n  - ", file=sys.stderr)
