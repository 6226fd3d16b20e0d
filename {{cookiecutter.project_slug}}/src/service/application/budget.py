"""What a day may cost. Money is held before a model is asked and settled afterwards; what is not known stays held."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Scope(StrEnum):
    """Whose budget: each tenant has one, and each release over all tenants."""

    TENANT = "tenant"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Spender:
    """Whose money an answer would cost."""

    tenant: str
    release: str


@dataclass(frozen=True, slots=True)
class Hold:
    """US dollars set aside for one request on one day (UTC), in the budgets of its spender."""

    spender: Spender
    day: date
    usd: float
