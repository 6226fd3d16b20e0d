"""Seals alone and in a row, without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.integration.audit_chain import ORIGIN, Keys, Seal, Sealed, check, flaw, seal

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYS = Keys(lambda: "one")
ALTERED = ["row or seal was altered"]


def row(seq: int, actor: str = "ann") -> dict:
    return {"seq": seq, "at": NOW, "actor": actor, "details": {"b": 1, "a": [None, 0.1]}}


def chain(*rows: dict, before: Seal | None = None, now: datetime = NOW) -> list[Sealed]:
    return [Sealed(made, one) for made, one in zip(seal(KEYS, before, rows, now), rows, strict=True)]


@pytest.mark.parametrize(
    "change",
    [
        {"position": 2},
        {"audit_seq": 8},
        {"previous": "1" * 64},
        {"mac": "1" * 64},
        {"sealed_at": NOW + timedelta(microseconds=1)},
    ],
)
def test_each_part_of_a_seal_is_sealed(change):
    (one,) = chain(row(7))
    assert flaw(KEYS.all(), one) == []
    assert flaw(KEYS.all(), replace(one, seal=replace(one.seal, **change))) == ALTERED


@pytest.mark.parametrize("change", [{"seq": 8}, {"at": NOW - timedelta(days=1)}, {"details": {}}, {"new": 1}])
def test_each_part_of_a_row_is_sealed(change):
    (one,) = chain(row(7))
    assert flaw(KEYS.all(), replace(one, row={**one.row, **change})) == ALTERED


def test_a_piece_of_another_chain_under_the_same_key_does_not_fit():
    ours, theirs = chain(row(1), row(2), row(3)), chain(row(1, "bob"), row(2), row(3))
    assert check(KEYS, None, ours) == check(KEYS, None, theirs) == []
    spliced = check(KEYS, None, [*ours[:1], *theirs[1:]])
    assert [(wrong.position, wrong.what) for wrong in spliced] == [(2, "is not linked to the seal before it")]


def test_time_never_runs_backwards_between_seals():
    first = chain(row(1))
    second = chain(row(2), before=first[0].seal, now=NOW - timedelta(hours=1))
    assert second[0].seal.sealed_at == NOW
    assert (first[0].seal.previous, check(KEYS, first[0], second)) == (ORIGIN, [])


def test_a_key_is_needed():
    with pytest.raises(ValueError, match="no audit key"):
        seal(Keys(lambda: " , "), None, [row(1)], NOW)
