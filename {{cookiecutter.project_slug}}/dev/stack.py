"""What `svc run` starts, in order, and how each part is told of the others."""

import importlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hvac.exceptions import VaultError

import service
from dev.announce import say
from dev.children import Children, Program, StartFailed, answers
from dev.files import read_json, write_private_json
from dev.settings import HOST, RunSettings, free_ports
from dev.vault import Vault
from service.project import slug

READY_SECONDS = 120.0
API_GRACE, WORKER_GRACE = 28.0, 20.0  # a request may take its 20 s deadline; a job its 10 s write
NOT_FOR_CHILDREN = ("MODEL_API_KEY", "BACKUP_MODEL_API_KEY")


class Stack:
    """The parts of one run: their addresses, their programs and the order of start and stop."""

    def __init__(self, settings: RunSettings, children: Children, check: Callable[[], None]) -> None:
        """`check` is called while waiting; it raises when somebody wants to stop."""
        self._settings = settings
        self._children = children
        self._check = check
        vault, cluster, model, backup, ticketing, *inference = free_ports(5 + settings.inference, but=settings.port)
        self._ports = {"model": model, "backup": backup, "ticketing": ticketing}
        self._vault = None if settings.vault_addr else Vault(settings.var / "vault", slug(), vault, cluster)
        self.vault_addr = self._vault.address if self._vault else settings.vault_addr
        self.model_url = settings.model_url or f"http://{HOST}:{model}"
        # No stand-in beside a real model: its answer would look like a real one.
        self._backup_stand_in = not settings.backup_url and not settings.model_url
        self.backup_url = f"http://{HOST}:{backup}" if self._backup_stand_in else settings.backup_url
        self.ticketing_url = settings.ticketing_url or f"http://{HOST}:{ticketing}"
        self._inference = {f"inference-{number}": port for number, port in enumerate(inference)}
        given = settings.environment.get("INFERENCE_URL", "")
        self.inference_urls = [f"http://{HOST}:{port}" for port in inference] or list(filter(None, given.split(",")))
        self.keys: dict[str, str] = {}

    def start(self) -> None:
        """Everything, until it is ready. Raises `StartFailed`. OpenBao, stand-ins and migration start side by side."""
        settings, children = self._settings, self._children
        if self._vault:
            children.add(Program("vault", self._vault.command(), self._bare))
        migrated = children.begin(Program("migrate", _service("migrate"), self._common))
        if not settings.model_url:
            children.add(self._stand_in("model", "dev.model", "--name", "stand-in-primary"))
        if self._backup_stand_in:
            children.add(self._stand_in("backup", "dev.model", "--name", "stand-in-backup"))
        importlib.import_module("dev.keys")  # a second of SQLAlchemy, spent while the others start
        token = self._prepare_vault()
        if not settings.ticketing_url:
            children.add(self._ticketing(token))
        self._wait(migrated, "the database migration")
        self.keys = self._development_keys()
        for name in self._inference:
            children.add(Program(name, _service("serve-inference"), partial(self._inference_environment, name)))
        children.add(Program("api", _service("serve"), lambda: self._environment("api"), API_GRACE))
        children.add(
            Program("worker", _service("worker"), lambda: self._environment("worker"), WORKER_GRACE, self._unready)
        )
        self._wait(lambda: answers(f"{settings.base_url}/health/ready"), "the API")
        self._wait(self._inference_answers, "inference")
        self._wait(self._worker_ready.exists, "the worker")
        self._wait(self._stand_ins_answer, "a stand-in")

    def stop(self) -> None:
        """First what takes work, then what it works with."""
        for names in (("api",), ("worker",), tuple(self._inference), ("model", "backup", "ticketing", "vault")):
            self._children.stop(*names)
        for file in self._secret_files():
            file.unlink(missing_ok=True)

    def _prepare_vault(self) -> str | None:
        """Set OpenBao up; the token that the ticketing system expects, unless the vault is somebody else's."""
        if self._vault is None:
            return None
        try:
            self._vault.make_ready(self._checked)
            kept = self._vault.app_secrets(self._settings.environment)
        except VaultError as error:
            where = self._settings.var / "vault"
            raise StartFailed(f"OpenBao refuses its set-up ({error}); if {where} is damaged, move it away") from error
        for line in self._vault.other_keys(kept, self._settings.environment):
            say(line)
        return kept["ticketing_token"]

    def _development_keys(self) -> dict[str, str]:
        from dev import keys

        url = self._settings.environment.get("DATABASE_URL") or f"sqlite:///{self._settings.var / 'service.db'}"
        if self._vault:
            vault = self._vault
            return keys.development_keys(url, lambda: vault.read("dev-keys"), lambda new: vault.write("dev-keys", new))
        file = self._settings.var / "dev-keys.json"
        return keys.development_keys(url, lambda: read_json(file), lambda new: write_private_json(file, new))

    def _stand_ins_answer(self) -> bool:
        started = self._children.pids()
        return all(answers(f"http://{HOST}:{port}/") for name, port in self._ports.items() if name in started)

    def _inference_answers(self) -> bool:
        return all(answers(f"http://{HOST}:{port}/health/ready") for port in self._inference.values())

    def _inference_environment(self, name: str) -> dict[str, str]:
        var = self._settings.var / name
        var.mkdir(exist_ok=True)
        return self._environment(name) | {"PORT": str(self._inference[name]), "VAR_DIR": str(var)}

    def _environment(self, name: str) -> dict[str, str]:
        """The environment of a process of the service, with a secret id of its own that works once."""
        settings, environment = self._settings, self._common()
        if self._vault:
            secret_id = self._secret_file(name)
            self._vault.issue_secret_id(secret_id)
            login = {"VAULT_ROLE_ID": self._vault.role_id, "VAULT_SECRET_ID_FILE": str(secret_id)}
        else:
            given = "WORKER_VAULT_SECRET_ID_FILE" if name == "worker" else "VAULT_SECRET_ID_FILE"
            login = {"VAULT_SECRET_ID_FILE": settings.environment[given]}
        return (
            environment
            | login
            | {
                "VAULT_ADDR": self.vault_addr,
                "MODEL_URL": settings.model_url or f"{self.model_url}/v1",
                "MODEL_NAME": settings.model_name,
                "BACKUP_MODEL_URL": f"{self.backup_url}/v1" if self._backup_stand_in else self.backup_url,
                "BACKUP_MODEL_NAME": settings.backup_name if self.backup_url else "",
                "INFERENCE_URL": ",".join(self.inference_urls),
                "TICKETING_URL": self.ticketing_url,
            }
        )

    def _common(self) -> dict[str, str]:
        """What every process of the service gets. `PYTHONPATH` makes them run the code that runs here."""
        given = self._settings.environment
        kept = {name: value for name, value in given.items() if name not in NOT_FOR_CHILDREN}
        source = str(Path(service.__file__).parent.parent)
        no_proxy = ",".join(filter(None, (given.get("NO_PROXY") or given.get("no_proxy"), "127.0.0.1,localhost")))
        return kept | {
            "PROFILE": "development",
            "PORT": str(self._settings.port),
            "VAR_DIR": str(self._settings.var),
            "PYTHONPATH": ":".join(filter(None, (source, given.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def _bare(self) -> dict[str, str]:
        given = self._settings.environment
        return {
            name: given[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONDONTWRITEBYTECODE") if name in given
        }

    def _stand_in(self, name: str, module: str, *arguments: str) -> Program:
        argv = (sys.executable, "-m", module, "--port", str(self._ports[name]), *arguments)
        return Program(name, argv, self._bare)

    def _ticketing(self, token: str | None) -> Program:
        data = ("--data", str(self._settings.var / "ticketing.db"))
        if token is None:  # the vault is somebody else's: only the service may read the token there
            return self._stand_in("ticketing", "dev.ticketing", *data, "--any-token")
        program = self._stand_in("ticketing", "dev.ticketing", *data)
        return Program(program.name, program.argv, lambda: self._bare() | {"TICKETING_TOKEN": token})

    @property
    def _worker_ready(self) -> Path:
        return self._settings.var / "worker.ready"

    def _unready(self) -> None:
        self._worker_ready.unlink(missing_ok=True)

    def _secret_file(self, name: str) -> Path:
        return self._settings.var / "run" / f"{name}.secret-id"

    def _secret_files(self) -> list[Path]:
        return [self._secret_file(name) for name in ("api", "worker", *self._inference)]

    def _checked(self) -> None:
        self._check()
        self._children.fail_on_death()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            self._checked()
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{what} was not ready within {READY_SECONDS:.0f} s; see {self._settings.var / 'log'}"
                )
            time.sleep(0.05)


def _service(command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "service", command)
