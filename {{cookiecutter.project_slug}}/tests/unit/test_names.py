"""Without the extra `names`: a service told to find names does not start, and says what to install."""

import pytest

from service import bootstrap_inference
from service.settings import Secrets, Settings, SettingsError

SECRETS = Secrets.model_validate(dict.fromkeys(Secrets.model_fields, "x"))


def test_a_missing_package_stops_the_start_with_the_command_that_installs_it():
    model, data = {"url": "http://127.0.0.1:9/v1", "name": "m"}, {"spacy_model": "en_core_web_sm"}
    with pytest.raises(SettingsError, match="uv sync --extra names"):
        bootstrap_inference.local_engine(Settings(model=model, data=data), SECRETS)
