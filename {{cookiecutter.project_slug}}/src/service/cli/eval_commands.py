"""`svc eval` with its subcommands."""

from service.cli import eval_cases, eval_drift, eval_judge, eval_targets
from service.cli.eval import app

app.add_typer(eval_cases.app, name="cases")
app.command()(eval_targets.baseline)
app.command()(eval_targets.compare)
app.command()(eval_drift.drift)
app.command()(eval_judge.judge)
