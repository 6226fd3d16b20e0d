"""The inference process over HTTP: one question in, one prediction or the reason for none out. It stores nothing."""

import hmac
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from service.api import health
from service.api.app import MOST, Lifespan, bare_app
from service.api.disconnect import while_connected
from service.application.decision import ModelUnusable, Prediction
from service.application.errors import Conflict, Invalid, Unavailable
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.exchange import PATH, PredictRequest, answer_of

log = logging.getLogger(__name__)
Predict = Callable[[Ticket, Release, str, float, int], Awaitable[Prediction[TriageOutcome]]]
MAX_BODY_BYTES = 1_000_000  # a ticket and a release, whose prompt may be long
KEPT_RELEASES = 64
APIS = 8  # may ask one of these at once, each as often as its own limit allows
# Kept back of the caller's time, so that "too late" reaches it as an answer with its cost: a tenth, at most 0.25 s.
MARGIN, MARGIN_S = 0.1, 0.25


@dataclass(frozen=True, slots=True)
class Engine:
    """What the route needs. `token` is called for each request, so a rotated one is picked up.

    `misfit` says why a release cannot be answered by this code, if it cannot.
    """

    predict: Predict
    token: Callable[[], str]
    misfit: Callable[[Release], str | None] = lambda _release: None
    check_secrets: Callable[[], bool | str] = lambda: True
    releases: OrderedDict[str, Release] = field(default_factory=OrderedDict)

    async def check(self) -> dict[str, bool | str]:
        """For readiness: a process that answers is ready, since it waits on nothing but its secrets."""
        return {"secrets": self.check_secrets()}

    def release(self, asked: PredictRequest) -> Release:
        """The bundle that the request names. Raises `Conflict` when it is missing and `Invalid` when it is another.

        Raises `Unavailable` when it does not fit this process's code: during a deployment another one may have it.
        """
        release = asked.release or self.releases.get(asked.digest)
        if release is None:
            raise Conflict("this release is not known here: send it along")
        if asked.release and asked.release.digest != asked.digest:
            raise Invalid("the release is not the one that its digest names")
        if why := self.misfit(release):
            log.error("release %s does not fit: %s; it is not answered here", release.name, why)
            raise Unavailable("this release does not fit the code of this process")
        self.releases[asked.digest] = release
        self.releases.move_to_end(asked.digest)
        if len(self.releases) > KEPT_RELEASES:
            self.releases.popitem(last=False)
        return release


async def _authenticated(request: Request) -> None:
    """One bearer token, equal byte for byte, compared in a time that tells nothing."""
    expected = request.app.state.service.token().encode()
    scheme, _, token = ",".join(request.headers.getlist("authorization")).encode("latin-1").partition(b" ")
    if not expected or scheme.lower() != b"bearer" or not hmac.compare_digest(token, expected):
        raise HTTPException(401, "send the inference token", {"WWW-Authenticate": "Bearer"})


_authenticated.required_roles = ("the API",)  # type: ignore[attr-defined]
router = APIRouter(dependencies=[Depends(_authenticated)])


@router.post(PATH)
async def predict(request: Request, asked: PredictRequest) -> Response:
    """Ask the engine within the caller's remaining time. 409: send the release along."""
    engine: Engine = request.app.state.service
    release, left_s = engine.release(asked), asked.deadline_ms / 1000
    within_s = left_s - min(left_s * MARGIN, MARGIN_S)
    try:
        predicting = engine.predict(asked.ticket, release, asked.tenant, within_s, asked.calls)
        answer = answer_of(await while_connected(request, predicting))
    except ModelUnusable as failure:
        answer = answer_of(failure)
    return Response(answer.to_json(), media_type="application/json")


def create_inference_app(
    engine: Engine, title: str, lifespan: Lifespan | None = None, most: int = MOST * APIS
) -> FastAPI:
    """The application of `svc serve-inference`: one route behind the inference token, and the health checks."""
    app = bare_app(title, lifespan, body_limit=MAX_BODY_BYTES, most=most, documented=False)
    app.state.service = engine
    app.include_router(router)
    app.include_router(health.router)
    return app
