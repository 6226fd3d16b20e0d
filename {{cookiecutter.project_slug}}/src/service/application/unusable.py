"""The one thing inference may raise: the model gave nothing usable, and why."""

from service.application.decision import Reason, Usage


class ModelUnusable(Exception):
    """No validated outcome was obtained. `usage` counts the tokens that were spent all the same."""

    def __init__(self, reason: Reason, usage: Usage | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.usage = usage or Usage()
