"""`svc run`: the service and all it needs, on one machine, in one command.

Starts OpenBao, stand-ins, migration, API and worker (`dev.stack`), says what runs where, restarts what dies, and
takes everything down in order on Ctrl-C or SIGTERM. If it is killed itself, its guardian ends the rest.
`var/dev.json` exists while everything is up.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from dev.announce import announce, say
from dev.children import Children, Guardian, StartFailed
from dev.files import keep_private, write_private_json
from dev.settings import RunSettings, WrongUse, port_is_free, read

TICK_SECONDS = 0.1
LEFTOVERS_SECONDS = 15.0
SAME_SIGNAL_SECONDS = 1.0


class _StopAsked(Exception):
    """Ctrl-C, SIGTERM or a closed terminal."""


def main(root: Path) -> int:
    """Run until stopped. The exit code: 0 stopped on request, 2 wrong use, 3 something did not start or stay up."""
    try:
        settings = read(root, os.environ)
        keep_private(settings.var, holding=(root, Path("~").expanduser()))
        with _only_one(settings):
            if not port_is_free(settings.port):
                raise StartFailed(f"port {settings.port} is in use; stop what listens there or set PORT")
            return Supervisor(settings).run()
    except WrongUse as error:
        print(f"svc run: {error}", file=sys.stderr)
        return 2
    except (StartFailed, OSError) as error:
        print(f"svc run: {error}", file=sys.stderr)
        return 3


class Supervisor:
    """One run."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._state = settings.var / "dev.json"
        self._state.unlink(missing_ok=True)  # left by a run that was killed
        self._stop_asked_at: float | None = None
        self._guardian: Guardian | None = None

    def run(self) -> int:
        """Start, watch, stop. Raises `StartFailed`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # `nohup` ignores SIGHUP
                signal.signal(number, self._on_signal)
        self._guardian = guardian = Guardian(self._settings.var / "guardian.lock", self._state)
        children = Children(guardian, self._settings.var / "log", self._settings.root)
        from dev.stack import Stack  # late: it imports hvac, and a refused start need not wait for that

        stack = Stack(self._settings, children, self._check)
        try:
            stack.start()
            self._write_state(stack, children)
            announce(self._settings, stack, children.pids())
            self._watch(stack, children)
        except _StopAsked:
            say("\nstopping ... (again to kill)")
        finally:
            self._state.unlink(missing_ok=True)
            try:
                stack.stop()
            finally:
                guardian.end()
        say("stopped")
        return 0

    def _watch(self, stack: Any, children: Children) -> NoReturn:
        while True:
            self._check()
            events = children.tend()
            for event in events:
                say(event)
            if events:
                self._write_state(stack, children)
            time.sleep(TICK_SECONDS)

    def _check(self) -> None:
        if self._stop_asked_at is not None:
            raise _StopAsked
        if self._guardian is not None and not self._guardian.alive():
            raise StartFailed("the guardian process is gone, so nothing would end the others: stopping everything")

    def _write_state(self, stack: Any, children: Children) -> None:
        guardian = self._guardian.pid if self._guardian else 0
        state = {
            "base_url": self._settings.base_url,
            "model_url": stack.model_url,
            "backup_url": stack.backup_url,
            "ticketing_url": stack.ticketing_url,
            "vault_addr": stack.vault_addr,
            "telemetry_dir": str(self._settings.var / "telemetry"),
            "pids": {"supervisor": os.getpid(), "guardian": guardian} | children.pids(),
            "keys": stack.keys,
        }
        write_private_json(self._state, state)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop_asked_at is None:
            self._stop_asked_at = time.monotonic()
        # One Ctrl-C may arrive twice, from the terminal and from a parent such as `timeout` or `uv run`.
        elif self._guardian is not None and time.monotonic() - self._stop_asked_at > SAME_SIGNAL_SECONDS:
            self._state.unlink(missing_ok=True)
            self._guardian.end()
            os._exit(130)


@contextmanager
def _only_one(settings: RunSettings) -> Iterator[None]:
    """Hold `var/` for this run. Waits a little for the guardian of a killed run to finish its work."""
    with open(settings.var / "supervisor.lock", "a+", encoding="utf-8") as lock:
        lock.seek(0)
        if not _locked(lock.fileno()):
            raise StartFailed(
                f"{lock.read().strip() or 'another `svc run`'} is running on {settings.var}; stop it first"
            )
        lock.truncate(0)
        lock.write(f"`svc run` with pid {os.getpid()} at {settings.base_url}\n")
        lock.flush()
        _wait_for_leftovers(settings.var / "guardian.lock")
        yield


def _wait_for_leftovers(lock_path: Path) -> None:
    deadline = time.monotonic() + LEFTOVERS_SECONDS
    with open(lock_path, "a", encoding="utf-8") as lock:
        while not _locked(lock.fileno()):
            if time.monotonic() > deadline:
                raise StartFailed(f"processes of an earlier run do not end (they hold {lock_path})")
            time.sleep(TICK_SECONDS)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
