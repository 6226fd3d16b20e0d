"""The model stand-in by itself, for `svc eval` without a model."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.children import Children, Guardian, Program, StartFailed, answers
from dev.labels import MODEL_IDS
from dev.settings import HOST, free_ports

START_SECONDS = 20.0
__all__ = ["StartFailed", "model"]


@contextmanager
def model(workdir: Path) -> Iterator[tuple[str, str]]:
    """URL and name of a new stand-in. It ends with the block, and when this process is killed."""
    [port], name = free_ports(1), next(iter(MODEL_IDS))
    guardian = Guardian(workdir / "guardian.lock", workdir / "guardian.state")
    try:
        children = Children(guardian, workdir, Path(__file__).parents[1])
        argv = (sys.executable, "-m", "dev.model", "--port", str(port), "--name", name)
        children.add(Program("stand-in", argv, lambda: os.environ))
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://{HOST}:{port}/"):
            children.fail_on_death()
            if time.monotonic() > deadline:
                raise StartFailed(f"the model stand-in was not ready within {START_SECONDS:.0f} s")
            time.sleep(0.05)
        yield f"http://{HOST}:{port}/v1", name
    finally:
        guardian.end()
