"""`svc eval` with its subcommands."""

from service.cli import eval_targets
from service.cli.eval import app

app.command()(eval_targets.baseline)
app.command()(eval_targets.compare)
