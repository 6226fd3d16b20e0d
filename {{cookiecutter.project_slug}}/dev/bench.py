"""`svc bench`: what a request of the running service costs, beside a bare route that only calls the same stand-in.

Both are measured in one run, in alternating rounds, by the CPU time of their own process. The bare route
(`dev/bare_route.py`) does what a prototype does: FastAPI, one model call over httpx2, one pydantic validation. The
service adds authentication, both transactions, flags, gateway, policy and telemetry. Jobs run in the worker and are
counted apart. Absolute times say little on another machine; the ratio is the figure to keep.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from dev.example import BENCH, PATH

TICKS = os.sysconf("SC_CLK_TCK")


class NotRunning(Exception):
    """Nothing can be measured; the message says why, or what to start."""


@dataclass
class Measured:
    """CPU milliseconds per request of one round each, and wall milliseconds of every request."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        wall = sorted(self.wall_ms)
        return {
            "cpu_ms": round(statistics.median(self.cpu_ms), 2),
            "p50_ms": round(statistics.median(wall), 2),
            "p99_ms": round(wall[int(len(wall) * 0.99)], 2),
        }


def bench(var_dir: Path, requests: int, rounds: int) -> dict[str, dict[str, float]]:
    """Figures of both, by name. Raises `NotRunning` without a `svc run` on this var directory."""
    if not Path("/proc/self/stat").exists():
        raise NotRunning("svc bench reads CPU times from /proc, which this system does not have")
    try:
        running = json.loads((var_dir / "dev.json").read_text())
    except FileNotFoundError:
        raise NotRunning(f"nothing runs on {var_dir}: start `svc run` in another terminal first") from None
    if "model" not in running["pids"]:
        raise NotRunning("svc bench measures with the stand-in model: start `svc run` without MODEL_URL")
    service, bare, worker = Measured(), Measured(), Measured()
    with _bare_route(f"{running['model_url']}/v1") as (bare_url, bare_pid), httpx2.Client(timeout=30) as http:
        headers = {"X-API-Key": running["keys"]["caller"]}
        parts = (
            (service, f"{running['base_url']}{PATH}", running["pids"]["api"]),
            (bare, f"{bare_url}/ask", bare_pid),
        )
        for number in range(rounds + 1):  # round 0 warms up
            for measured, url, pid in parts:
                into = measured if number else Measured()
                worker_before = _cpu_s(running["pids"]["worker"])
                _round(http, url, headers, pid, requests, into)
                if number and measured is service:
                    spent = _cpu_s(running["pids"]["worker"]) - worker_before
                    worker.cpu_ms.append(spent * 1000 / requests)
    figures = {"service": service.summary(), "bare route": bare.summary()}
    if not figures["bare route"]["cpu_ms"]:
        raise NotRunning("too few requests: the CPU time of the bare route is below the clock's tick")
    figures["ratio"] = {
        name: round(figures["service"][name] / figures["bare route"][name], 2) for name in figures["service"]
    }
    figures["worker"] = {"cpu_ms": round(statistics.median(worker.cpu_ms), 2)}
    return figures


def _round(http: httpx2.Client, url: str, headers: dict[str, str], pid: int, requests: int, into: Measured) -> None:
    before = _cpu_s(pid)
    for number in range(requests):
        body = BENCH[number % len(BENCH)]
        started = time.perf_counter()
        try:
            http.post(url, json=body, headers=headers).raise_for_status()
        except httpx2.HTTPStatusError as error:
            raise NotRunning(f"{url} answered {error.response.status_code}: {error.response.text[:200]}") from None
        except httpx2.HTTPError as error:
            raise NotRunning(f"{url} did not answer: {type(error).__name__}") from None
        into.wall_ms.append((time.perf_counter() - started) * 1000)
    into.cpu_ms.append((_cpu_s(pid) - before) * 1000 / requests)


def _cpu_s(pid: int) -> float:
    """User and system seconds of a process; see proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def _bare_route(model_url: str) -> Iterator[tuple[str, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "dev.bare_route", "--port", str(port), "--model", model_url])
    try:
        for _ in range(200):
            try:
                httpx2.get(url)
                break
            except httpx2.HTTPError:
                time.sleep(0.05)
        yield url, process.pid
    finally:
        process.kill()
        process.wait()
