"""A release: everything that decides what the model is asked, frozen under one digest.

Reviewed in git, published to the database, chosen by a flag, recorded on each decision. Editing a prompt
therefore makes a new release; rolling back is pointing the flag at an older one.
"""

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# What a prompt file may decide beside its text.
PARAMETERS = frozenset({"temperature", "max_tokens", "thresholds", "read_first_hours"})


class Thresholds(BaseModel):
    """Limits of the disposition policy. `auto`: least confidence, 0 to 1, at which no person needs to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auto: Annotated[float, Field(ge=0, le=1)] = 0.75


class Release(BaseModel):
    """An immutable bundle. `prompt` is the template's full text; versions are those of the code it was made for.

    `read_first_hours`: a question asked again within so many hours gets its earlier answer, without a model; 0: never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    use_case: str
    prompt_id: str
    prompt_version: str
    prompt: str
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
