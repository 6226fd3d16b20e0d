"""A release: everything that decides what the model is asked, frozen under one digest.

Reviewed in git, published to the database, chosen by a flag, recorded on each decision. Editing a prompt
therefore makes a new release; rolling back is pointing the flag at an older one.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.application.errors import Invalid

# What a prompt file may decide beside its text.
PARAMETERS = frozenset({"model", "temperature", "max_tokens", "thresholds", "read_first_hours"})


class Thresholds(BaseModel):
    """Limits of the disposition policy. `auto`: least confidence, 0 to 1, at which no person needs to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auto: Annotated[float, Field(ge=0, le=1)] = 0.75


class Release(BaseModel):
    """An immutable bundle. `prompt` is the template's full text; versions are those of the code it was made for.

    `model` is the primary model's id; empty, it is the process's own (MODEL_NAME), which production does not accept.
    `read_first_hours`: a question asked again within so many hours gets its earlier answer, without a model; 0: never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    use_case: str
    prompt_id: str
    prompt_version: str
    prompt: str
    model: Annotated[str, Field(max_length=100)] = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 800
    thresholds: Thresholds = Thresholds()
    read_first_hours: Annotated[int, Field(ge=0, le=8760)] = 0
    contract_version: str
    rules_version: str
    guards_version: str

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of every field that is not at its default.

        So a new field with a default changes no published digest; a default itself must never change.
        """
        canonical = json.dumps(
            self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def name(self) -> str:
        """Short name shown to people and recorded on decisions: use case and the digest's first 12 digits."""
        return f"{self.use_case}-{self.digest[:12]}"


class Step(StrEnum):
    """What is recorded of a release after it is drafted: who stands for it, and when it began to answer whom."""

    APPROVED = "approved"
    CANARY = "canary"
    ACTIVATED = "activated"
    CANARY_ENDED = "canary_ended"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Code:
    """The versions whose releases this code answers as they were evaluated, its own first.

    Whoever changes contract, rules or guards decides whether releases made for the version before still fit.
    """

    contract: tuple[str, ...]
    rules: tuple[str, ...]
    guards: tuple[str, ...]

    def misfit(self, release: Release) -> str | None:
        """What does not fit; None when everything does."""
        for what in ("contract", "rules", "guards"):
            wanted, known = getattr(release, f"{what}_version"), getattr(self, what)
            if wanted not in known:
                return f"it was made for {what} {wanted}, and this code has {', '.join(known)}"
        return None


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict of a suite run on one release. `target` tells which model was asked, `models` which answered.

    `holdout`: how many of the cases were sealed ones, which nobody tunes a prompt on.
    """

    id: str
    digest: str
    suite: str
    target: str
    verdict: str
    at: datetime
    models: tuple[str, ...] = ()
    holdout: int = 0

    def why_not(self, release: Release, production: bool, suite: str = "", holdout: int = 0) -> str | None:
        """Why this report does not speak for the release; None when it does.

        It must be of this `suite`, if given, with all its `holdout` cases.
        """
        if self.digest != release.digest:
            return f"report {self.id} is about another release ({self.digest[:12]})"
        if self.suite.partition("@")[0] != release.use_case:
            return f"report {self.id} is of the suite {self.suite}, not of one for {release.use_case}"
        if suite and self.suite != suite:
            return f"report {self.id} is of the suite {self.suite}, which is {suite} now: svc release evaluate again"
        if self.holdout < holdout:
            return f"report {self.id} was made without the {holdout} sealed cases: svc release evaluate {release.name}"
        if self.verdict != "PASS":
            return f"report {self.id} says {self.verdict}, not PASS"
        if production and "stand-in" in self.target:
            return f"report {self.id} was taken on the stand-in, which production does not accept"
        # A vendor adds the day to the name of what it serves; any other ending is another model.
        named = re.compile(re.escape(release.model) + r"([-@]\d{4}[\d-]*)?") if release.model else re.compile(".*")
        others = [model for model in self.models if not named.fullmatch(model)]
        if production and others:
            return f"report {self.id} tells of answers by {others[0]}, and the release names {release.model}"
        return None


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody stands for a release, on the evidence of a report."""

    approver: str
    report: Report | None


def same_person(one: str, other: str) -> bool:
    """Whether two subjects are one person's, as far as their names tell."""
    return one.strip().casefold() == other.strip().casefold()


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands between a release and customers. `override`: in development, what is missing is only recorded."""

    code: Code
    production: bool = True
    override: bool = False

    def check(self, release: Release, author: str, approvals: list[Approval]) -> str | None:
        """What was overridden, if anything. Raises `Invalid` when nobody may be given this release yet."""
        if misfit := self.code.misfit(release):
            raise Invalid(f"{release.name} does not fit this code: {misfit}")
        missing = self._missing(release, author, approvals)
        if missing and (self.production or not self.override):
            raise Invalid(missing)
        return missing

    def _missing(self, release: Release, author: str, approvals: list[Approval]) -> str | None:
        name = release.name
        if not approvals:
            return f"nobody has approved {name}: svc release evaluate {name}, then another person: svc release approve"
        others = [approval for approval in approvals if not same_person(approval.approver, author)]
        if not others:
            return f"{name} is approved by its author ({author}) only: another person must approve it"
        found = [each.report.why_not(release, self.production) if each.report else "no report" for each in others]
        if None not in found:
            return f"{name} is approved without evidence: {found[-1]}"
        if self.production and not release.model:
            return f"{name} names no model, so what was evaluated could change: draft it with --model"
        return None
