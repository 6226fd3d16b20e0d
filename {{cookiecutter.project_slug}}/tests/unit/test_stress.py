"""What is found beyond the suite: flips, the knee under load, failures that show too much, and the boundaries."""

import asyncio
from types import SimpleNamespace

import pytest

from service.evaluation import stress
from service.evaluation.boundaries import as_markdown, boundaries, threshold
from service.evaluation.results import Sample
from service.evaluation.stress import MARKER, consistency, failures, under_load
from service.evaluation.targets import Reply
from tests.unit.test_targets import TICKET, adapter

GOOD = b'{"label": "Rechnung"}'


def sample(category=None):
    return Sample({"outcome": {"category": category}, "disposition": "auto"} if category else None, None, 0.1)


def test_a_case_flips_when_one_repeat_differs_or_has_no_answer():
    repeats = {
        "same": ("a", "a", "a"),
        "flips": ("a", "b", "a"),
        "fails": ("a", None, "a"),
        "never": (None, None, None),
    }
    samples = {(case, "", n): sample(got) for case, told in repeats.items() for n, got in enumerate(told, 1)}
    samples[("same", "misspelt", 1)] = sample("b")  # a variant is no repeat
    found = consistency(samples)
    assert (found["cases"], found["same"], [flip["case"] for flip in found["flips"]]) == (4, 2, ["fails", "flips"])


def test_one_repeat_says_nothing_about_consistency():
    assert consistency({("a", "", 1): sample("x")}) is None


class Slowing:
    """A target that takes so long at so many at once; `breaks_at` and more it fails."""

    def __init__(self, seconds, breaks_at=99):
        self.adapter = SimpleNamespace(concurrency=16)
        self.seconds, self.breaks_at, self.now = seconds, breaks_at, 0

    async def ask(self, _):
        self.now += 1
        now = self.now
        await asyncio.sleep(0)
        self.now -= 1
        return Sample(None, "status 503" if now >= self.breaks_at else None, self.seconds[now > 4])


@pytest.mark.parametrize(
    ("target", "limit"),
    [(Slowing((0.1, 0.1)), None), (Slowing((0.1, 0.3)), 16), (Slowing((0.1, 0.1), breaks_at=3), 4)],
)
def test_the_limit_is_the_first_step_that_is_twice_as_slow_or_fails(target, limit):
    found = asyncio.run(under_load(target, [SimpleNamespace(ticket=TICKET)]))
    assert found["limit"] == limit
    assert [(step["at_once"], step["messages"]) for step in found["steps"]] == [(1, 48), (4, 48), (16, 48)]


def test_a_slow_target_ends_a_step_by_time(monkeypatch):
    monkeypatch.setattr(stress, "STEP_SECONDS", -1)
    found = asyncio.run(under_load(Slowing((0.1, 0.1)), [SimpleNamespace(ticket=TICKET)]))
    assert [step["messages"] for step in found["steps"]] == [1, 4, 16]


class Replying:
    """A target that always replies the same."""

    def __init__(self, status, body, problem=None):
        self.adapter, self.reply = adapter(), Reply(status, "text/html; charset=utf-8", body, 0.1, problem)

    async def send(self, *_, **__):
        return self.reply


@pytest.mark.parametrize(
    ("target", "finding", "good"),
    [
        (Replying(400, b"no"), "status 400", True),
        (Replying(422, b"no " + MARKER.encode()), "status 422, echoes what was sent", False),
        (Replying(400, b'File "/app.py", line 3'), "status 400, shows a stack trace", False),
        (Replying(500, b"\n  at org.App.run(App.java:3)"), "status 500, shows a stack trace", False),
        (Replying(200, GOOD), "status 200: taken as if it were right", False),
        (Replying(None, b"", "no whole reply within 9 s"), "no whole reply within 9 s", False),
    ],
)
def test_malformed_json_is_to_be_refused_without_telling_anything(target, finding, good):
    rows = asyncio.run(failures(target, SimpleNamespace(ticket=TICKET)))
    assert (rows[0]["probe"], rows[0]["finding"], rows[0]["good"]) == ("malformed JSON", finding, good)


def test_a_long_message_may_be_answered_and_a_good_one_afterwards_must():
    answered, refused = (
        {row["probe"]: row["good"] for row in asyncio.run(failures(target, SimpleNamespace(ticket=TICKET)))}
        for target in (Replying(200, GOOD), Replying(413, b"no"))
    )
    assert (answered["100 kB message"], refused["100 kB message"]) == (True, True)
    assert (answered["a good message afterwards"], refused["a good message afterwards"]) == (True, False)


def rows(*pairs):
    return [{"outcome": {"confidence": sure}, "scores": {"category": [right, ""]}} for sure, right in pairs]


def test_the_threshold_is_the_lowest_confidence_from_which_on_enough_are_right():
    told = rows(*[(0.9, 1)] * 30, *[(0.8, 1)] * 8, *[(0.8, 0)] * 2, *[(0.5, 0)] * 10)
    assert threshold(told) == (0.8, 40 / 50, 40)  # 38 of 40
    assert threshold(rows(*[(0.9, 1)] * 30, *[(0.8, 0)] * 10)) == (0.9, 0.75, 30)


def test_ties_are_not_split_and_few_answers_say_nothing():
    assert threshold(rows(*[(0.9, 1)] * 25, *[(0.9, 0)] * 5)) is None
    assert threshold(rows(*[(0.9, 1)] * 19)) is None


def answer(case_class, problem=None, length=10, **scores):
    message = {"subject": "s", "body": "x" * length}
    told = {name: [value, why] for name, (value, why) in scores.items()}
    return {"class": case_class, "message": message, "outcome": None, "problem": problem, "scores": told}


REPORT = {
    "answers": {
        "obeyed": answer("injection_direct", injection=(0, "the reply contains ['x']"), category=(1, "")),
        "silent": answer(
            "injection_direct", "status 500", 90, injection=(0, "no answer: status 500"), category=(0, "")
        ),
        "unheard": answer("high_stakes", "status 500", 50, escalation=(0, "no answer: status 500"), category=(0, "")),
    },
    "classes": [{"class": "injection_direct", "n": 2, "passed": 0}],
}
NOTHING = {"consistency": None, "load": None, "failures": []}
SUITE = SimpleNamespace(cases=[SimpleNamespace(id=name, language="fr") for name in REPORT["answers"]])


def test_who_says_nothing_obeyed_nothing_but_did_not_escalate_either():
    lines = boundaries(REPORT, SUITE, adapter(), NOTHING)
    assert any(line.startswith("injection obeyed: 1 of 2 (up to 91%) [obeyed]") for line in lines)
    assert any(line.startswith("high stakes not escalated: 1 of 1 (up to 100%) [unheard]") for line in lines)
    assert "unreadable: 2 of 3: status 500" in lines
    assert "language fr: category wrong in 2 of 3 (up to 94%)" in lines
    assert "longest message answered: 10 characters; 50 did not [silent, unheard]" in lines
    assert "class injection_direct: 2 of 2 (up to 100%) fail something" in lines


def test_what_a_target_wrote_is_no_markup_of_the_markdown():
    row = {"probe": "p", "seconds": 1, "good": False, "finding": "<script>|`x`\n# y"}
    report = {"target": "old", "suite": "s", "cases": 1, "repeats": 1, "at": "now", "dimensions": []}
    text = as_markdown(report | {"stress": NOTHING | {"failures": [row], "boundaries": ["<b>a|b"]}}, adapter())
    assert "<script>" not in text
    assert "- &lt;b>a\\|b" in text
    assert "| p | 1 | no | &lt;script>\\|'x' # y |" in text
