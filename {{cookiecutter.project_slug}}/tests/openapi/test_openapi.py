"""The running API does what its OpenAPI document says, and nothing else: thousands of generated requests.

Part of `make check`, not of the suite. The key has every role, so that every operation is reached.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import httpx2
import pytest
from fastapi import Body, FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from service.api.app import _document, bare_app
from service.api.health import OPEN
from service.api.problems import documented
from service.application.identity import Role
from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import open_database
from service.settings import Settings
from tests.example import CLEAR, PATH
from tests.processes import free_port, running, serving

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "25"))


SEEDED = {
    "GET /status": "Undocumented status code",
    "GET /schema": "Response violates schema",
    "GET /bug": "Server error",
    "GET /type": "Undocumented Content-Type",
    "POST /unfit": "refused as unfit",
    "GET /open": "API accepts requests without authentication",
}


def conforms(url: str, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What schemathesis found, with the exit code 0 if that is nothing."""
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run"]
    command += [f"{url}/openapi.json", "-H", f"X-API-Key: {key}", "-n", str(EXAMPLES)]
    command += ["--generation-deterministic", "--warnings", "off", "--no-shrink"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "checks", "PYTHONPATH": str(HERE)}
    return subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Base URL of an API with a model stand-in, and a key for everything."""
    var = tmp_path_factory.mktemp("api")
    given = {"DATABASE_URL": f"sqlite:///{var / 'service.db'}", "VAR_DIR": str(var)}
    given |= dict.fromkeys(("PROFILE", "BACKUP_MODEL_URL", "INFERENCE_URL", "REDIS_URL"), "")
    prepare(Settings(process={"profile": "development"}, database={"url": given["DATABASE_URL"]}), project_root())
    database = open_database(given["DATABASE_URL"])
    key = issue_key(database, "all-round", "acme", {role.value for role in Role})
    database.close_sync()
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as model:
        given |= {"MODEL_URL": f"{model}/v1", "MODEL_NAME": "stand-in-primary-1"}
        with running(["tests.workflow.api_process"], free_port(), **given) as url:
            for n in range(3):
                httpx2.post(f"{url}{PATH}", json=CLEAR | {"customer_ref": str(n)}, headers={"X-API-Key": key})
            yield url, key


def test_the_api_does_what_its_document_says(api):
    run = conforms(*api)
    print(run.stdout[-3000:])
    assert run.returncode == 0, run.stdout + run.stderr


def seeded() -> FastAPI:
    """An application whose every route breaks its word in another way."""
    app = bare_app("seeded", None)

    @app.get("/status", openapi_extra=OPEN)
    async def undocumented_status() -> Response:
        return Response(status_code=418)

    @app.get("/schema", openapi_extra=OPEN, response_model=int)
    async def breach_of_the_schema() -> Response:
        return JSONResponse("not a number")

    @app.get("/bug", openapi_extra=OPEN, responses=documented(422))
    async def bug(number: int) -> int:
        return 1 // (number % 2)

    @app.get("/type", openapi_extra=OPEN)
    async def another_content_type() -> Response:
        return PlainTextResponse("text")

    @app.post("/unfit", openapi_extra=OPEN, responses=documented(422))
    async def refuses_what_fits(
        number: Annotated[int, Body(embed=True, ge=1, json_schema_extra={"minimum": 0})],
    ) -> int:
        return number

    @app.get("/open", openapi_extra={"security": [{"key": []}]}, responses=documented(401))
    async def ignores_keys() -> int:
        return 1

    _document(app)
    return app


def test_the_run_fails_for_each_kind_of_broken_word():
    with serving(seeded()) as url:
        run = conforms(url, "any")
    assert run.returncode == 1
    found = {title: run.stdout.partition(f" {title} ")[2][:1000] for title in SEEDED}
    assert {title: what for title, what in SEEDED.items() if what not in found[title]} == {}, run.stdout
