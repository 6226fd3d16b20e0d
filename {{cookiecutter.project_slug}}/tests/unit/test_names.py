"""A service told to find names does not start without what it takes, and says what to install."""

from contextlib import AsyncExitStack

import pytest

from service import bootstrap_inference
from service.settings import Secrets, Settings, SettingsError

SECRETS = Secrets.model_validate(dict.fromkeys(Secrets.model_fields, "x"))


def test_what_is_missing_stops_the_start_and_is_named():
    model, data = {"url": "http://127.0.0.1:9/v1", "name": "m"}, {"spacy_model": "no_such_model"}
    with pytest.raises(SettingsError, match=r"uv sync --extra names|no installed spaCy model"):
        bootstrap_inference.local_engine(Settings(model=model, data=data), SECRETS, AsyncExitStack())
