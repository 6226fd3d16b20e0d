"""What a call costs: from the table, from a setting, or unknown. Offline."""

import socket

import pytest

from service.inference.prices import BadPrice, price_of


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_arguments, **_more):
        raise AssertionError("the price table must not need the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_listed_model_has_its_list_price():
    assert price_of("gpt-4o-mini")(1000, 1000) == pytest.approx(0.00015 + 0.0006)


def test_a_model_that_no_table_knows_costs_unknown_and_not_nothing():
    assert price_of("a-model-of-our-own")(1000, 1000) is None


def test_a_given_price_is_per_million_tokens_and_beats_the_table():
    assert price_of("gpt-4o-mini", "2/10")(1_000_000, 500_000) == 7.0


def test_a_model_of_ones_own_may_be_free():
    assert price_of("a-model-of-our-own", "0/0")(1000, 1000) == 0.0


@pytest.mark.parametrize("given", ["2", "2/", "two/ten", "-1/2", "nan/1", "1/inf", "1/2/3"])
def test_a_price_that_cannot_be_read_says_how_to_write_it(given):
    with pytest.raises(BadPrice, match="is no price"):
        price_of("m", given)
