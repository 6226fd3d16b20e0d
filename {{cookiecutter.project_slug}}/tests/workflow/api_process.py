"""The API as its own process, for tests that need several. All of it is real but the vault: its secrets are constant.

    VAR_DIR=... DATABASE_URL=... MODEL_URL=... MODEL_NAME=... python -m tests.workflow.api_process --port PORT

One route is added: what this process's own switches say, for the time in which no other route answers, because
every caller's key is looked up in the database.
"""

import sys
from contextlib import AsyncExitStack

from service.api.app import create_app
from service.application.identity import Caller, Role
from service.bootstrap import use_cases
from service.bootstrap_inference import engine
from service.bootstrap_store import open_store
from service.cli.serve import listen
from service.settings import Settings
from tests.conftest import SECRETS
from tests.example import USE_CASE

SWITCH = "/of-this-test/switch"


def main(port: int) -> None:
    config = Settings(process={"port": port})
    store = open_store(config, "api", SECRETS)
    service = use_cases(store, config, SECRETS, engine(config, SECRETS, AsyncExitStack()))
    app = create_app(service, "test", most=config.load.most_at_once)
    caller = Caller("caller", "acme", frozenset({Role.CALLER}))

    @app.get(SWITCH, include_in_schema=False)
    async def switch() -> bool:
        return store.switches.ai_on(USE_CASE, caller, None)

    listen(app, config.process)


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--port") + 1]))
