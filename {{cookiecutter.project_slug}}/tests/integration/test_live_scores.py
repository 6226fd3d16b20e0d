"""Live answers are evaluated once, within limits, by however many workers, on both databases."""

import asyncio
from dataclasses import dataclass

import pytest

from service.application.decision import Disposition
from service.application.held import Opened
from service.application.review.contract import Verdict
from service.application.review.use_case import Reviewable, ReviewWork
from service.integration.database.erasure import SqlPrivacy
from service.integration.database.live_scores import LiveEvaluation
from service.integration.database.observed import observe
from service.integration.database.records import SqlRecords
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.tables import EffectRow, LiveScoreRow, ReviewItemRow
from tests.integration.examples import ALICE, REQUEST, REVIEWER, Clock, Queue, decision, digest, effect, rows, store

RELEASE = decision().release


@dataclass
class Said:
    passed: bool


def judge(request, answer):
    assert request == REQUEST
    return {"format": Said(True), "groundedness": Said(answer["decision_id"] != "d-1")}


def evaluation(database, told, share=1.0, per_hour=1000, judge=judge):
    return LiveEvaluation(database, judge, share, per_hour, lambda *verdict: told.append(verdict))


@pytest.fixture
def clock():
    return Clock()


def stored(database, clock, ids, **changes):
    for id_ in ids:
        asyncio.run(store(database, clock, decision(id_, at=clock(), **changes), with_effect=True))


def test_each_answer_is_judged_once_and_told_once(database, clock):
    stored(database, clock, ["d-1", "d-2"])
    told = []
    one, other = evaluation(database, told), evaluation(database, told)

    async def both():
        await asyncio.gather(one(clock()), other(clock()))
        await one(clock())

    asyncio.run(both())
    found = {(row.decision_id, row.dimension): row.passed for row in rows(database, LiveScoreRow)}
    assert found == {
        ("d-1", "format"): True, ("d-1", "groundedness"): False,
        ("d-2", "format"): True, ("d-2", "groundedness"): True,
    }  # fmt: skip
    assert len(told) == 4
    assert ("groundedness", False, decision().use_case, RELEASE, "0" * 32) in told


def test_only_a_share_is_judged_and_only_so_many_an_hour(database, clock):
    stored(database, clock, [f"d-{n}" for n in range(40)])
    told = []
    asyncio.run(evaluation(database, told, share=0.5)(clock()))
    half = {row.decision_id for row in rows(database, LiveScoreRow)}
    assert 8 < len(half) < 32
    asyncio.run(evaluation(database, told, per_hour=len(half) + 3)(clock()))
    assert len({row.decision_id for row in rows(database, LiveScoreRow)}) == len(half) + 3
    asyncio.run(evaluation(database, told, share=0.0)(clock()))
    asyncio.run(evaluation(database, told, per_hour=0)(clock()))
    assert len({row.decision_id for row in rows(database, LiveScoreRow)}) == len(half) + 3


def test_what_was_answered_more_than_an_hour_ago_is_left_alone(database, clock):
    stored(database, clock, ["d-1"])
    clock.forward(3601)
    told = []
    asyncio.run(evaluation(database, told)(clock()))
    assert told == []


def test_an_evaluator_that_fails_is_on_record_and_stops_nothing(database, clock):
    def broken(request, answer):
        if answer["decision_id"] == "d-1":
            raise RuntimeError("no such thing")
        return judge(request, answer)

    stored(database, clock, ["d-1", "d-2"])
    told = []
    asyncio.run(evaluation(database, told, judge=broken)(clock()))
    found = {(row.decision_id, row.dimension): row.passed for row in rows(database, LiveScoreRow)}
    assert found[("d-1", "evaluator")] is None
    assert found[("d-2", "format")] is True
    assert ("evaluator", None) in {verdict[:2] for verdict in told}


def test_an_erased_answer_is_not_judged(database, clock):
    stored(database, clock, ["d-1"])
    asyncio.run(SqlPrivacy(database, clock).erase(ALICE, "c-1", dry_run=False))
    told = []
    asyncio.run(evaluation(database, told)(clock()))
    assert told == []


def reviewed(database, clock, share, ids):
    records = SqlRecords(database, Queue(), digest, clock, reviewed=share)
    for id_ in ids:
        asyncio.run(records.close(decision(id_, at=clock()), Opened(), REQUEST, effect(id_)))


def test_a_share_of_what_passes_without_a_person_is_reviewed_all_the_same(database, clock):
    reviewed(database, clock, 0.5, [f"d-{n}" for n in range(40)])
    items = rows(database, ReviewItemRow)
    assert 8 < len(items) < 32
    assert {item.disposition for item in items} == {"auto"}
    assert len(rows(database, EffectRow)) == 40


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_on_it_writes_nothing_again(database, clock, verdict):
    reviewed(database, clock, 1.0, ["d-1"])
    desk = SqlReviewDesk(database, Queue(), clock)
    work = ReviewWork(desk, {decision().use_case: Reviewable(validate=dict, effect=lambda *_: effect("another"))})
    [item] = rows(database, ReviewItemRow)
    outcome = {"category": "product"} if verdict is Verdict.CORRECT else None
    asyncio.run(work.decide(REVIEWER, item.id, verdict, outcome, "looked at it"))
    assert [row.key for row in rows(database, EffectRow)] == [effect("d-1").key]
    [closed] = rows(database, ReviewItemRow)
    assert (closed.verdict, closed.corrected) == (verdict.value, outcome)


def test_what_people_and_evaluators_said_is_counted_by_disposition_and_release(database, clock):
    reviewed(database, clock, 1.0, ["d-1", "d-2"])
    stored(database, clock, ["d-3"], disposition=Disposition.REVIEW)
    stored(database, clock, ["d-4"], release="another-1")
    work = ReviewWork(
        SqlReviewDesk(database, Queue(), clock),
        {decision().use_case: Reviewable(validate=dict, effect=lambda id_, *_: effect(id_))},
    )
    for item in rows(database, ReviewItemRow):
        if item.decision_id != "d-3":
            verdict = Verdict.APPROVE if item.decision_id == "d-1" else Verdict.REJECT
            asyncio.run(work.decide(REVIEWER, item.id, verdict, None, "so"))
    asyncio.run(evaluation(database, [])(clock()))
    seen = database.read_sync(lambda s: observe(s, RELEASE, lambda outcome, d: (outcome.get("category"), d), 2, 2))
    assert seen.verdicts == {"auto": (2, 2, 1), "review": (1, 0, 0)}
    assert (len(seen.first), len(seen.newest)) == (2, 2)
    assert sorted(seen.failed["groundedness"]) == [False, False, True]
