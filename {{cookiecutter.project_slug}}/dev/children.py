"""Child processes: started into the guardian's group, logged to files, restarted with back-off, stopped in order."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

GUARDIAN = Path(__file__).with_name("guardian.py")
MAX_DEATHS, WINDOW_SECONDS = 5, 60.0
FIRST_DELAY = 0.2
LAST_LINES = 15
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StartFailed(Exception):
    """Something `svc run` needs did not start or does not stay up. The message is for the person who typed it."""


@dataclass(frozen=True)
class Program:
    """What to run. `environment` is asked at every start, because a wrapped secret id works once."""

    name: str
    argv: tuple[str, ...]
    environment: Callable[[], Mapping[str, str]]
    grace_seconds: float = 5.0
    before_start: Callable[[], None] = lambda: None


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_DEATHS + 1))
    start_at: float | None = None


class Guardian:
    """The process that outlives the supervisor by two seconds, just to end the others."""

    def __init__(self, lock: Path, state: Path, timeout: float = 15.0) -> None:
        """Start it. `state` is a file that it removes with the rest.

        Raises `StartFailed` when the guardian of an earlier run still holds the lock.
        """
        read_end, self._write_end = os.pipe()  # not inheritable: no child keeps the pipe open
        argv = [sys.executable, "-I", "-S", str(GUARDIAN), str(lock), str(state)]
        self._process = subprocess.Popen(argv, stdin=read_end, stdout=subprocess.PIPE, process_group=0)
        os.close(read_end)
        self.pid = self._process.pid
        stdout = self._process.stdout
        if stdout is None or not select.select([stdout], [], [], timeout)[0] or stdout.readline() != b"ready\n":
            self.end()
            raise StartFailed(f"processes of an earlier run are still ending (they hold {lock}); try again")

    def alive(self) -> bool:
        """Whether the protection still holds."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill whatever is left of the group, the guardian included."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write_end)


class Children:
    """The programs that run, by name, in the order they were added."""

    def __init__(self, guardian: Guardian, logs: Path, directory: Path, first_delay: float = FIRST_DELAY) -> None:
        """`first_delay` seconds before the first restart, doubled for each further one within a minute."""
        self._guardian = guardian
        self._first_delay = first_delay
        self._logs = logs
        self._directory = directory
        self._children: dict[str, _Child] = {}
        self._began_at: dict[str, int] = {}  # where in its log the last start of a program begins
        logs.mkdir(parents=True, exist_ok=True)

    def add(self, program: Program) -> None:
        """Start a program and keep it running from now on."""
        child = self._children[program.name] = _Child(program)
        self._start(child)

    def begin(self, program: Program) -> Callable[[], bool]:
        """Start a program that ends by itself. What is returned says whether it has, and raises if it failed."""
        process = self._spawn(program)

        def finished() -> bool:
            if process.poll():
                raise StartFailed(self.died(program.name, process.returncode))
            return process.returncode == 0

        return finished

    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run now."""
        return {name: c.process.pid for name, c in self._children.items() if c.process and c.process.poll() is None}

    def fail_on_death(self) -> None:
        """Raise `StartFailed` if any program has ended. For the start, when a death is no accident."""
        for name, child in self._children.items():
            if child.process and child.process.poll() is not None:
                raise StartFailed(self.died(name, child.process.returncode))

    def tend(self) -> list[str]:
        """Restart what has died. Returns one line for each thing that happened."""
        events = [self._tend(child) for child in self._children.values()]
        return [event for event in events if event]

    def stop(self, *names: str) -> None:
        """SIGTERM to all named, then wait for each one's grace, then SIGKILL. No restart follows."""
        leaving = [self._children.pop(name) for name in names if name in self._children]
        running = [(c.program, c.process) for c in leaving if c.process and c.process.poll() is None]
        for _, process in running:
            process.terminate()
        for program, process in running:
            try:
                process.wait(program.grace_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def died(self, name: str, code: int) -> str:
        """What to tell the person: how it ended and the end of what it logged since it was started."""
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        log = self._logs / f"{name}.log"
        logged = log.read_bytes()[self._began_at[name] :]
        lines = logged.decode("utf-8", "replace").splitlines()[-LAST_LINES:]
        return "\n".join([f"{name} {how}; the end of {log}:", *(f"    {line}" for line in lines)])

    def _tend(self, child: _Child) -> str | None:
        name, now = child.program.name, time.monotonic()
        if child.start_at is not None:
            return self._restart(child) if now >= child.start_at else None
        if child.process is None or child.process.poll() is None:
            return None
        child.deaths.append(now)
        recent = [at for at in child.deaths if now - at <= WINDOW_SECONDS]
        if len(recent) > MAX_DEATHS:
            died = self.died(name, child.process.returncode)
            raise StartFailed(f"{name} died {len(recent)} times in a minute, so everything is stopped; {died}")
        delay = self._first_delay * 2 ** (len(recent) - 1)
        child.start_at = now + delay
        return f"{name} (pid {child.process.pid}) died; restarting in {delay:.1f} s"

    def _restart(self, child: _Child) -> str | None:
        try:
            self._start(child)
        except OSError as error:  # its secret cannot be issued while the vault itself is being restarted
            child.start_at = time.monotonic() + 0.5
            return f"{child.program.name} cannot start yet: {type(error).__name__}"
        child.start_at = None
        return f"{child.program.name} restarted as pid {child.process.pid}" if child.process else None

    def _start(self, child: _Child) -> None:
        child.program.before_start()
        child.process = self._spawn(child.program)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        if not self._guardian.alive():
            raise StartFailed("the guardian process is gone")
        environment = dict(program.environment())
        with open(self._logs / f"{program.name}.log", "ab") as log:
            self._began_at[program.name] = log.tell()
            return subprocess.Popen(
                program.argv,
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guardian.pid,
            )


def answers(url: str) -> bool:
    """Whether a program that was started serves there yet."""
    try:
        with _DIRECT.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
