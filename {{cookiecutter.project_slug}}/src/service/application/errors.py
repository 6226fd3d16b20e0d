"""The few ways in which the application says no. The API maps each to one HTTP status; nothing else is expected.

ApplicationError
+-- NotFound            there is no such thing in this tenant
+-- Conflict            somebody else got there first
|   +-- InProgress      the same idempotency key is being answered right now
+-- KeyReused           the same idempotency key came with another request
+-- Invalid             the request is well formed but cannot be done
+-- Unavailable         no answer can be given now, not even by rules; try again later
"""


class ApplicationError(Exception):
    """Base of all expected refusals. The message is shown to callers, so it never quotes their input."""


class NotFound(ApplicationError):
    """There is no such thing in the caller's tenant."""


class Conflict(ApplicationError):
    """The thing is taken, closed or otherwise no longer in the state the caller assumed."""


class InProgress(Conflict):
    """A request with the same idempotency key is being answered; retry shortly for its answer."""


class KeyReused(ApplicationError):
    """The idempotency key was used before with a different request body."""


class Invalid(ApplicationError):
    """The request is well formed but contradicts itself or the rules of the use case."""


class Unavailable(ApplicationError):
    """No answer is possible now. `retry_after` is a hint in seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after
