"""What the person who typed `svc run` asked for, read from the environment; and free ports for the rest."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.labels import MODEL_IDS

HOST = "127.0.0.1"
_MODEL_ID, _BACKUP_ID = MODEL_IDS.values()


class WrongUse(Exception):
    """The environment asks for something impossible. One line that says what to change."""


@dataclass(frozen=True)
class RunSettings:
    """Empty strings mean: not given, so `svc run` starts its own."""

    root: Path
    var: Path
    port: int
    model_url: str
    model_name: str
    backup_url: str
    backup_name: str
    ticketing_url: str
    vault_addr: str
    inference: int
    environment: Mapping[str, str]

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"http://{HOST}:{self.port}"


def read(root: Path, environment: Mapping[str, str]) -> RunSettings:
    """The settings, with `PORT=0` replaced by a free port. Raises `WrongUse`."""
    if environment.get("PROFILE", "development") != "development":
        raise WrongUse("`svc run` is for development; start `svc serve` and `svc worker` for production")
    for name in ("MODEL", "BACKUP_MODEL"):
        if environment.get(f"{name}_URL") and not environment.get(f"{name}_NAME"):
            raise WrongUse(f"{name}_URL is set, so {name}_NAME must say which model to ask for there")
    if environment.get("VAULT_ADDR"):
        needed = ("VAULT_ROLE_ID", "VAULT_SECRET_ID_FILE", "WORKER_VAULT_SECRET_ID_FILE")
        missing = [name for name in needed if not environment.get(name)]
        if missing:
            raise WrongUse(f"VAULT_ADDR is set, so these must be too: {', '.join(missing)} (a wrapped id works once)")
    var = environment.get("VAR_DIR")
    return RunSettings(
        root=root,
        var=Path(var).absolute() if var else root / "var",
        port=_port(environment.get("PORT") or "8000"),
        model_url=environment.get("MODEL_URL", ""),
        model_name=environment.get("MODEL_NAME") or _MODEL_ID,
        backup_url=environment.get("BACKUP_MODEL_URL", ""),
        backup_name=environment.get("BACKUP_MODEL_NAME") or _BACKUP_ID,
        ticketing_url=environment.get("TICKETING_URL", ""),
        vault_addr=environment.get("VAULT_ADDR", ""),
        inference=_inference(environment),
        environment=environment,
    )


def port_is_free(port: int) -> bool:
    """Whether the API could listen there. Old connections in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:  # macOS lets two listeners share a port, one of them on 0.0.0.0
            return False
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, but: int = 0) -> list[int]:
    """Different free ports on the loopback address, none of them `but`."""
    sockets = [socket.socket() for _ in range(count + 1)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        ports = [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    return [port for port in ports if port != but][:count]


def _inference(environment: Mapping[str, str]) -> int:
    text = environment.get("INFERENCE") or "0"
    if text not in ("0", "1", "2", "3", "4"):
        raise WrongUse(f"INFERENCE must be a number of processes from 0 to 4, not {text!r}")
    if text != "0" and environment.get("INFERENCE_URL"):
        raise WrongUse("INFERENCE starts inference processes here, INFERENCE_URL names some elsewhere: set one of them")
    if text != "0" and environment.get("VAULT_ADDR"):
        raise WrongUse("INFERENCE needs the vault of `svc run`: with VAULT_ADDR, start `svc serve-inference` yourself")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise WrongUse(f"PORT must be a number from 0 (any free port) to 65535, not {text!r}")
    return int(text) or free_ports(1)[0]
