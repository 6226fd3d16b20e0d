"""Keeps samples on disk, so that an interrupted run goes on where it stopped and grading again asks nobody.

One folder for each set of things that decide an answer (target, release, code); in it a line of JSON for each sample,
appended as it comes. A later line of the same item counts. The files hold messages: only their owner may read them.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any

from service.application.decision import JsonObject
from service.evaluation.results import Item, Key, Sample
from service.evaluation.suites import digest_of

KEPT = 5  # folders, the newest
KEPT_S = 7 * 86_400  # a model of last week proves little of today's


class Answers:
    """The samples of one target. `fresh` forgets those of earlier runs."""

    def __init__(self, root: Path, decides: JsonObject, fresh: bool = False) -> None:
        """`decides`: everything but the message that an answer depends on."""
        self._folder = root / digest_of(decides)[:16]
        file = self._folder / "samples.jsonl"
        if fresh or (file.exists() and time() - file.stat().st_mtime > KEPT_S):
            self.discard()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(self._folder)
        for old in sorted(root.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self._file = self._folder / "samples.jsonl"

    def stored(self, items: Iterable[Item], observed: bool) -> dict[Key, Sample]:
        """The samples of those items whose message is still the same.

        Where effects are `observed`, a case as it is written is asked again if nobody saw its effects.
        """
        found: dict[tuple[Any, ...], Sample] = {}
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        for line in text.splitlines():
            try:
                row = json.loads(line)
                found[(*row["item"], row["ticket"])] = Sample(**row["sample"])
            except (ValueError, KeyError, TypeError):  # torn, when the run that wrote it was killed
                continue
        kept = ((item, found.get((*item.key, _ticket(item)))) for item in items)
        return {
            item.key: sample
            for item, sample in kept
            if sample and (sample.effects is not None or item.variant or not observed)
        }

    def keep(self, item: Item, sample: Sample) -> None:
        """Append one sample, in one write."""
        row = {"item": item.key, "ticket": _ticket(item), "sample": asdict(sample)}
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # another run may have forgotten it meanwhile
        file = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            end = os.lseek(file, 0, os.SEEK_END)
            torn = end > 0 and os.pread(file, 1, end - 1) != b"\n"
            os.write(file, b"\n" * torn + json.dumps(row).encode() + b"\n")
        finally:
            os.close(file)

    def discard(self) -> None:
        """Forget them all."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _ticket(item: Item) -> str:
    return digest_of(item.ticket.model_dump(mode="json"))[:16]
