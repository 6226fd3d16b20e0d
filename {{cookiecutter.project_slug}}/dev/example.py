"""What the development parts know of the example: replaced together with it (CONTRIBUTING.md).

The other places are the stand-in model's brain: `brain.py`, `cues.py` and `schema.py`.
"""

from collections.abc import Callable
from typing import Any

PATH = "/v1/triage"
# What `svc run` prints to try. The stand-in model is sure about it, so it passes without a person.
GOOD = {
    "subject": "Charged twice",
    "body": "I was charged twice for order 12345-A. Please refund the second payment of $49.90.",
}
BENCH = (
    {
        "subject": "Charged twice",
        "body": "I was charged twice for my last invoice. Please refund the second payment of 20 EUR.",
    },
    {"subject": "Parcel", "body": "My parcel has not arrived and the tracking page has not changed for five days."},
    {"subject": "Login", "body": "I cannot log in to my account since I changed my password yesterday."},
    {"subject": "Question", "body": "Does the premium plan include phone support at the weekend?"},
)


def contract() -> tuple[dict[str, Any], Callable[[str], Any]]:
    """The schema the model is asked to fill, and what validates its text. Late: `svc run` needs neither."""
    from service.application.triage.contract import TriageOutcome
    from service.inference.triage import SCHEMA

    return SCHEMA, TriageOutcome.model_validate_json
