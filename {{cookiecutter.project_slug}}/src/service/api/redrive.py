"""Redrive: how many waiting decisions a model could be asked about again, and asking about a batch of them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service.api.authentication import requires
from service.api.problems import documented
from service.application.decision import Disposition, JsonObject, Source
from service.application.identity import Caller, Role
from service.application.waiting import Batch, Place, Window

router = APIRouter()
Operator = Annotated[Caller, requires(Role.OPERATOR)]


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a year from 1 to 9999 in UTC") from None


def _place(text: str) -> Place:
    failing, opened_at, review_id = text.split("~")
    try:
        return Place(datetime.fromisoformat(opened_at), review_id, int(failing))
    except ValueError:  # whose text quotes the input
        raise ValueError("must be the `next` of a batch") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
# What `_shown` writes, and nothing else.
Cursor = Annotated[str, Field(pattern=r"^[0-9]~[0-9T:.-]{19,26}\+00:00~[0-9a-f-]{36}$"), AfterValidator(_place)]


class Which(BaseModel):
    """Decisions made at `since` or later and before `until`, answered by `source` because no model could."""

    model_config = ConfigDict(extra="forbid")

    since: Instant
    until: Instant | None = None
    source: Literal["rules", "cache"] = "rules"

    def window(self) -> Window:
        return Window(Source(self.source), self.since, self.until)


class RedriveRequest(Which):
    """A model is asked about at most `limit`, from where an earlier batch ended: its `next`."""

    limit: Annotated[int, Field(ge=1, le=50)] = 10
    after: Cursor | None = None


@router.get("/v1/redrive", responses=documented(401, 403, 422, 503))
async def count_waiting(request: Request, which: Annotated[Which, Query()], operator: Operator) -> JSONResponse:
    """How many are `candidates` for a redrive, and the whole review `queue`, of every tenant."""
    return JSONResponse(asdict(await request.app.state.service.redrive.count(which.window())))


@router.post("/v1/redrive", responses=documented(400, 401, 403, 413, 422, 503))
async def redrive(request: Request, ordered: RedriveRequest, operator: Operator) -> JSONResponse:
    """Ask a model again about one batch, oldest first. What people have decided or hold is never touched."""
    service = request.app.state.service
    return JSONResponse(_shown(await service.redrive(operator, ordered.window(), ordered.limit, ordered.after)))


def _shown(batch: Batch) -> JsonObject:
    place = batch.next
    return {
        **asdict(batch.counted),
        "asked": batch.asked,
        "redriven": batch.became.total(),
        **{disposition.value: batch.became[disposition] for disposition in Disposition},
        "taken": batch.taken,
        "unchanged": batch.why.total(),
        "why": dict(batch.why),
        "stopped": batch.stopped,
        "next": f"{place.failing}~{place.opened_at.isoformat()}~{place.review_id}" if place else None,
    }
