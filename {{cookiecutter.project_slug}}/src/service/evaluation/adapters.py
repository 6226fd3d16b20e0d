"""An adapter file: how a target is asked over HTTP, and where in its reply stands what.

`docs/prototype-baseline.md` has a whole file, `targets.py` goes by it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension, Strict, Words, first_mistake
from service.evaluation.suites import SuiteError

FIELDS = tuple(f"{{{name}}}" for name in Ticket.model_fields)
PLACEHOLDER = re.compile(r"\$?\{\w+\}")
_SECRET_NAME = re.compile(r"authorization|cookie|passw|secret|api[-_]?key|(^|[-_])(key|token|auth)$", re.IGNORECASE)
_NO_SECRET = re.compile(r"\w{0,10} ?\$\{\w+\}")  # such as "Bearer ${TOKEN}"
# What must be mapped for a dimension to be observed. The others need more than an answer.
NEEDS: dict[Dimension, tuple[str, ...]] = {
    Dimension.CATEGORY: ("category",),
    Dimension.PRIORITY: ("priority",),
    Dimension.ENTITIES: ("entities",),
    Dimension.DISPOSITION: ("disposition",),
    Dimension.FORMAT: (),
    Dimension.TONE: ("draft_reply",),
    Dimension.REFUSAL: ("disposition", "draft_reply"),
    Dimension.OVER_REFUSAL: ("draft_reply",),
    Dimension.GROUNDEDNESS: ("draft_reply",),
    Dimension.INJECTION: ("draft_reply",),
    Dimension.PII: ("draft_reply",),
    Dimension.ESCALATION: ("disposition",),
    Dimension.ROBUSTNESS: ("category",),
    Dimension.FAIRNESS: ("category",),
}


class AdapterError(SuiteError):
    """The adapter cannot be used. The message is one line that names the file, the field and the mistake."""


def as_text(value: Any) -> str:
    """A value of JSON as it is compared with text."""
    return value if isinstance(value, str) else json.dumps(value)


def _strings(node: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every string at any depth, and the names on the way to it."""
    if isinstance(node, str):
        yield where, node
    elif isinstance(node, dict | list):
        parts = node.items() if isinstance(node, dict) else enumerate(node)
        for name, part in parts:
            yield from _strings(part, f"{where}.{name}" if where else str(name))


class Request(Strict):
    """How one message is sent. `{subject}`, `{body}`, `{channel}`, `{customer_ref}` stand for the message's fields.

    `${NAME}` stands for a variable of the environment, which is where secrets belong.
    """

    method: Literal["GET", "POST", "PUT"] = "POST"
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")]
    headers: dict[str, str] = Field({})
    query: dict[str, str] = Field({})
    body: JsonValue = Field(None, alias="json")
    form: dict[str, str] | None = None

    @model_validator(mode="after")
    def _sends_the_message_and_holds_no_secret(self) -> Self:
        if self.body is not None and self.form is not None:
            raise ValueError("json or form, not both")
        texts = list(_strings(self.model_dump(by_alias=True)))
        for where, text in texts:
            for name in PLACEHOLDER.findall(text):
                if not name.startswith("$") and name not in FIELDS:
                    raise ValueError(f"{where}: no placeholder {name}; there are {' '.join(FIELDS)}")
            if _SECRET_NAME.search(where.rsplit(".", 1)[-1]) and not _NO_SECRET.fullmatch(text):
                raise ValueError(f"{where}: no secrets in this file: write ${{NAME}} and set NAME in the environment")
        if not any("{body}" in text for _, text in texts):
            raise ValueError("{body} is nowhere, so the target would not get the message")
        return self

    @property
    def variables(self) -> set[str]:
        """The names of the variables it needs."""
        texts = (text for _, text in _strings(self.model_dump(by_alias=True)))
        return {name[2:-1] for text in texts for name in PLACEHOLDER.findall(text) if name.startswith("$")}


class Where(Strict):
    """Where a field stands in the reply: `a.b[0].c`, `*` for each; a string on the way is read as JSON.

    `values` translates what stands there, `default` is for when nothing does. `always` is what the target does anyway,
    though it does not say so. `out_of`: what counts as 1.
    """

    at: Words | None = None
    always: JsonValue = None
    default: JsonValue = None
    values: dict[str, JsonValue] = Field({})
    out_of: Annotated[float, Field(gt=0)] = 1

    @field_validator("values", mode="before")
    @classmethod
    def _keys_as_text(cls, values: Any) -> Any:  # YAML reads `yes:` and `1:` as other than text
        return {as_text(key): value for key, value in values.items()} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.at is None) == (self.always is None):
            raise ValueError("needs either at or always")
        return self


class Answer(Strict):
    """Which of the service's fields the target fills. What is missing here is not observed."""

    category: Where | None = None
    priority: Where | None = None
    disposition: Where | None = None
    entities: Where | None = None
    draft_reply: Where | None = None
    evidence: Where | None = None
    confidence: Where | None = None
    model_version: Where | None = None
    input_tokens: Where | None = None
    output_tokens: Where | None = None
    cost_usd: Where | None = None


class Adapter(Strict):
    """One target. Without `answer` its reply is the service's own contract.

    What the target does to the world is for its owner to declare: a suite is hundreds of messages.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
    side_effects: Literal["none", "reversible", "real"]
    side_effects_note: Words
    request: Request
    answer: Answer | None = None
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 30
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4

    @model_validator(mode="after")
    def _has_a_name_of_its_own(self) -> Self:
        if self.name in ("local", "latest", "model", "stand-in"):
            raise ValueError(f"name: {self.name} is taken, call the target something else")
        return self

    @property
    def observes(self) -> frozenset[Dimension]:
        """The dimensions that its replies can be judged on."""
        return frozenset(d for d, needed in NEEDS.items() if all(self.maps(name) for name in needed))

    def maps(self, name: str) -> bool:
        """Whether its replies fill this field of ours."""
        return self.answer is None or getattr(self.answer, name) is not None


OWN = Adapter.model_validate(
    {
        "name": "service",
        "side_effects": "real",
        "side_effects_note": "records decisions, opens review items, writes tickets",
        "request": {
            "path": "/v1/triage",
            "headers": {"Authorization": "Bearer ${SVC_CALLER_KEY}"},
            "json": {name: f"{{{name}}}" for name in Ticket.model_fields},
        },
    }
)


def load_adapter(file: Path) -> Adapter:
    """The adapter in a file. Raises `AdapterError`."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterError(f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AdapterError(f"{file}: not YAML in UTF-8: {' '.join(str(error).split())}") from None
    if isinstance(content, dict) and not content.get("side_effects"):
        raise AdapterError(
            f"{file}: side_effects: the target's owner must declare none, reversible or real; why: side_effects_note"
        )
    try:
        return Adapter.model_validate(content)
    except ValidationError as error:
        raise AdapterError(f"{file}: {first_mistake(error)}") from None
