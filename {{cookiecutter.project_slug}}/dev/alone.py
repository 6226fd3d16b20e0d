"""The service by itself, for `svc eval`: API, worker and ticketing stand-in, and a model stand-in without a model."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import service as package
from dev.children import Children, Guardian, Program, StartFailed, answers
from dev.labels import MODEL_IDS
from dev.settings import HOST, free_ports

START_SECONDS = 120.0
__all__ = ["Addresses", "StartFailed", "service"]


@dataclass(frozen=True)
class Addresses:
    """Where to ask, and `check`, which raises `StartFailed` once a process has died."""

    api: str
    ticketing: str
    check: Callable[[], None]


@contextmanager
def service(
    workdir: Path, environment: Mapping[str, str], ticketing_token: str, prepare: Callable[[], None]
) -> Iterator[Addresses]:
    """New processes that end with the block, and when this one is killed; without MODEL_URL they ask a stand-in.

    `environment` names their database, which `prepare` fills while the stand-ins start, VAR_DIR and SECRETS_DIR.
    """
    model, ticketing, api = free_ports(3)
    # If this process is killed, nobody is left to tidy up but the guardian: it removes what is worth stealing.
    guardian = Guardian(workdir / "guardian.lock", Path(environment["SECRETS_DIR"]) / "model_api_key")
    try:
        children = Children(guardian, workdir / "log", Path(__file__).parents[1])
        # The code that runs here, wherever the interpreter would find another.
        source = str(Path(package.__file__).parents[1])
        path = os.pathsep.join(filter(None, (source, environment.get("PYTHONPATH"))))
        told = {**environment, "PORT": str(api), "TICKETING_URL": f"http://{HOST}:{ticketing}", "PYTHONPATH": path}
        ready = [told["TICKETING_URL"], f"http://{HOST}:{api}/health/ready"]
        if not told.get("MODEL_URL"):
            name, model_id = next(iter(MODEL_IDS.items()))
            children.add(Program("model", _python("dev.model", "--port", str(model), "--name", name), lambda: told))
            told |= {"MODEL_URL": f"http://{HOST}:{model}/v1", "MODEL_NAME": model_id}
            ready.append(f"http://{HOST}:{model}/")
        store = ("--port", str(ticketing), "--data", str(workdir / "ticketing.db"))
        given = {**told, "TICKETING_TOKEN": ticketing_token}
        children.add(Program("ticketing", _python("dev.ticketing", *store), lambda: given))
        prepare()
        for process in ("serve", "worker"):
            children.add(Program(process, _python("service", process), lambda: told))
        worker = Path(told["VAR_DIR"]) / "worker.ready"
        deadline = time.monotonic() + START_SECONDS
        while not (worker.exists() and all(map(answers, ready))):
            children.fail_on_death()
            if time.monotonic() > deadline:
                raise StartFailed(f"the service was not ready within {START_SECONDS:.0f} s")
            time.sleep(0.05)
        yield Addresses(f"http://{HOST}:{api}", f"http://{HOST}:{ticketing}", children.fail_on_death)
    finally:
        guardian.end()


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
