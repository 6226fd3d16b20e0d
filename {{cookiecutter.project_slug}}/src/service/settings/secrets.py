"""What only the vault knows, for as long as the process runs."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Replaceable(SecretStr):
    def replace(self, value: str) -> None:
        self._secret_value = value


# Each instance its own: a default shared by all would be replaced for all.
Secret = Annotated[_Replaceable, Field(default_factory=lambda: _Replaceable(""))]


class Secrets(BaseModel):
    """What only the vault knows; empty where this process has no use for it. Values do not print.

    They change while the process runs: keep `known.NAME.get_secret_value`, call it each time, and keep no answer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_api_key: Secret
    backup_model_api_key: Secret
    audit_key: Secret
    digest_key: Secret
    payload_key: Secret
    ticketing_token: Secret
    inference_token: Secret
    redis_password: Secret

    def replace(self, values: Mapping[str, str]) -> None:
        """Use these from now on; what they do not name becomes empty."""
        for name in type(self).model_fields:
            getattr(self, name).replace(values.get(name, ""))
