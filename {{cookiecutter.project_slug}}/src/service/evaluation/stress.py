"""What a prototype is asked beyond the suite: the same again, much at once, and what nobody should send.

The load is light on purpose, a few dozen messages a step: it looks for the knee, it is no attack.
"""

import asyncio
import re
from collections.abc import Sequence
from itertools import cycle, islice
from time import monotonic

from service.application.decision import JsonObject
from service.evaluation.cases import EvalCase
from service.evaluation.results import Samples
from service.evaluation.targets import HttpTarget, Reply, Unmapped, read_answer

STEPS = (1, 4, 16)  # messages at once
STEP_MESSAGES, STEP_SECONDS = 48, 30.0  # a step ends with either
SLOWER, ERRORS = 2.0, 0.01  # beyond these a step is past the limit: p95 against that of one at once, share of errors
MARKER = "<b>svc-probe</b>"
_TRACE = re.compile(
    rb"Traceback \(most recent|File \"[^\"]+\", line \d|\n\s+at [\w.$<>]+ ?\(|werkzeug|stack ?trace", re.I
)


def consistency(samples: Samples) -> JsonObject | None:
    """Cases with the same category and disposition on all repeats; no readable answer is an outcome, too.

    None if there was one repeat.
    """
    told: dict[str, list[str]] = {}
    for (case, variant, _), sample in sorted(samples.items()):
        if not variant:
            answer = sample.answer
            got = f"{sample.outcome.get('category')}, {answer.get('disposition')}" if answer else "no answer"
            told.setdefault(case, []).append(got)
    repeated = {case: got for case, got in told.items() if len(got) > 1}
    if not repeated:
        return None
    flips = [{"case": case, "got": got} for case, got in repeated.items() if len(set(got)) > 1]
    same = len(repeated) - len(flips)
    return {"cases": len(repeated), "same": same, "share": round(same / len(repeated), 4), "flips": flips}


async def under_load(target: HttpTarget, cases: Sequence[EvalCase]) -> JsonObject:
    """Latency and errors per step, and the first step past the limit, or None. `cases`: such as are answered."""
    steps: list[JsonObject] = []
    for at_once in sorted({min(step, target.adapter.concurrency) for step in STEPS}):
        steps.append(await _step(target, cases, at_once))
    slow = steps[0]["p95_s"] * SLOWER
    past = (step["at_once"] for step in steps if step["p95_s"] > slow or step["errors"] > ERRORS * step["messages"])
    return {"steps": steps, "limit": next(past, None)}


async def _step(target: HttpTarget, cases: Sequence[EvalCase], at_once: int) -> JsonObject:
    import numpy as np  # part of scipy; slow to import

    waiting, ends, samples = islice(cycle(cases), STEP_MESSAGES), monotonic() + STEP_SECONDS, []

    async def client() -> None:
        for case in waiting:  # shared: each takes the next
            samples.append(await target.ask(case.ticket))
            if monotonic() > ends:
                return

    started = monotonic()
    await asyncio.gather(*(client() for _ in range(at_once)))
    p50, p95, p99 = np.percentile([sample.seconds for sample in samples], [50, 95, 99])
    return {
        "at_once": at_once,
        "messages": len(samples),
        "errors": sum(sample.problem is not None for sample in samples),
        "p50_s": round(float(p50), 4),
        "p95_s": round(float(p95), 4),
        "p99_s": round(float(p99), 4),
        "per_s": round(len(samples) / (monotonic() - started), 2),
    }


async def failures(target: HttpTarget, case: EvalCase) -> list[JsonObject]:
    """How it takes what it should refuse or survive, one probe at a time, and whether it still answers afterwards."""
    ticket, asked = case.ticket, target.adapter.request
    long = ticket.model_copy(update={"body": MARKER + " This is a long message." * 4200})
    control = ticket.model_copy(update={"body": f"{MARKER} \x00\x07\x1b[31m\u202e {ticket.body}"})
    rows = []
    if asked.body is not None:
        marker = MARKER.encode()
        for probe, content in {
            "malformed JSON": b'{"' + marker + b'": ',
            "empty body": b"",
            "wrong type": b'["' + marker + b'", 2]',
            "missing fields": b"{}",
        }.items():
            rows.append(_row(probe, target, await target.send(ticket, content=content), welcome=False))
    rows.append(_row("100 kB message", target, await target.send(long), welcome=True))
    rows.append(_row("control characters", target, await target.send(control), welcome=True))
    other = "POST" if asked.method == "GET" else "GET"
    rows.append(_row("wrong method", target, await target.send(ticket, method=other), welcome=False))
    rows.append(_row("a good message afterwards", target, await target.send(ticket), welcome=True, refusable=False))
    return rows


def _row(probe: str, target: HttpTarget, reply: Reply, welcome: bool, refusable: bool = True) -> JsonObject:
    """`welcome`: a proper answer is fine. `refusable`: so is a refusal, a status of 400 to 499 that tells nothing."""
    finding, good = _finding(target, reply, welcome, refusable)
    return {
        "probe": probe,
        "status": reply.status,
        "media_type": reply.media_type.partition(";")[0],
        "seconds": round(reply.seconds, 3),
        "good": good,
        "finding": finding,
    }


def _finding(target: HttpTarget, reply: Reply, welcome: bool, refusable: bool) -> tuple[str, bool]:
    if reply.problem or reply.status is None:
        return str(reply.problem), False
    if 200 <= reply.status < 300:
        if not welcome:
            return f"status {reply.status}: taken as if it were right", False
        try:
            read_answer(target.adapter, reply.body)
        except Unmapped as error:
            return f"status {reply.status}, but {error}", False
        return "answered", True
    told = [f"status {reply.status}"]
    told += ["shows a stack trace"] if _TRACE.search(reply.body) else []
    told += ["echoes what was sent"] if MARKER.encode() in reply.body else []
    return ", ".join(told), refusable and 400 <= reply.status < 500 and len(told) == 1
