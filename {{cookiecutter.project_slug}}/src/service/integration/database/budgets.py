"""Daily budgets in SQL. A day's row counts, per subject, tenant and release, what was spent and what is held.

One conditional statement adds a hold to a row, so holds never exceed the limit, whatever races in however many
processes. Always in the order of `Scope`, because two orders would deadlock; and money last in a transaction, because
its rows stay locked until the end.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.application.held import Hold, Scope, Spender
from service.integration.database.tables import BudgetRow, table_of

# Told after every change: whose budget, by name, the share of it that is used, and of which day.
Watch = Callable[[Scope, str, float, date], None]
log = logging.getLogger(__name__)

_row = table_of(BudgetRow)


def _hold(insert: Any) -> Any:
    added = _row.c.micro_usd + insert.excluded.micro_usd
    return insert.on_conflict_do_update(
        index_elements=list(_row.primary_key), set_={"micro_usd": added}, where=added <= bindparam("limit")
    ).returning(_row.c.micro_usd)


_HOLD = {"postgresql": _hold(postgresql.insert(_row)), "sqlite": _hold(sqlite.insert(_row))}
_CHANGE = (
    update(_row)
    .where(*(_row.c[column] == bindparam(f"this_{column}") for column in ("day", "scope", "name")))
    .values(micro_usd=_row.c.micro_usd + bindparam("change"))
    .returning(_row.c.micro_usd)
)


@dataclass(frozen=True, slots=True)
class Limits:
    """US dollars: what each tenant, release and subject may cost a day (None: no limit); what one request holds."""

    tenant_usd: float | None
    release_usd: float | None
    request_usd: float
    subject_usd: float | None = None

    @property
    def any(self) -> bool:
        return (self.tenant_usd, self.release_usd, self.subject_usd) != (None, None, None)

    def __post_init__(self) -> None:
        if _micro(self.request_usd) < 1:
            raise ValueError("a request must hold something, or no budget would ever be spent")


class Budgets:
    """Holds and settles, in the caller's transaction. A scope without a limit is not counted."""

    def __init__(self, limits: Limits, watch: Watch) -> None:
        usd = (limits.subject_usd, limits.tenant_usd, limits.release_usd)
        self._limits = {scope: _micro(most) for scope, most in zip(Scope, usd, strict=True) if most is not None}
        self._usd, self._watch = limits.request_usd, watch

    def hold(self, session: Session, spender: Spender, day: date) -> Hold | None:
        """Set one request's money aside in every budget, or in none: None when too little is left in one of them."""
        hold, amount, shares = Hold(spender, day, self._usd), _micro(self._usd), dict[Scope, float]()
        for scope, limit in self._limits.items():
            row = {"day": day, "scope": scope.value, "name": _name(spender, scope), "micro_usd": amount, "limit": limit}
            total = session.execute(_HOLD[session.get_bind().dialect.name], row).scalar() if amount <= limit else None
            if total is None:
                for held in shares:
                    _change(session, hold, held, -amount)
                self._tell(hold, {scope: 1.0})
                return None
            shares[scope] = total / limit
        self._tell(hold, shares)
        return hold

    def settle(self, session: Session, hold: Hold, usd: float | None) -> None:
        """Count the cost instead of the hold, on the day of the hold. A cost that is not known stays held.

        Every attempt counts, so more may be settled than was held, and the day may then end above its limit.
        """
        if usd is None or not 0 <= usd < math.inf:
            return
        change = _micro(usd) - _micro(hold.usd)
        self._tell(hold, {s: _change(session, hold, s, change) / limit for s, limit in self._limits.items()})

    def _tell(self, hold: Hold, shares: Mapping[Scope, float]) -> None:
        for scope, share in shares.items():
            try:
                self._watch(scope, _name(hold.spender, scope), share, hold.day)
            except Exception:  # whoever watches must not undo an answer
                log.exception("the watch on budgets failed")


def _name(spender: Spender, scope: Scope) -> str:
    return str(getattr(spender, scope.value))


def _micro(usd: float) -> int:
    """Millionths of a dollar, rounded up; what is less than a thousandth of one is a float's noise."""
    return math.ceil(round(usd * 1_000_000, 3))


def _change(session: Session, hold: Hold, scope: Scope, change: int) -> int:
    this = {"this_day": hold.day, "this_scope": scope.value, "this_name": _name(hold.spender, scope)}
    return session.execute(_CHANGE, {**this, "change": change}).scalar() or 0
