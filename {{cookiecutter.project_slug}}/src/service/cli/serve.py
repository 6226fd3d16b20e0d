"""`svc serve`: the API process. How any HTTP process of the service listens."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.settings.groups import ProcessSettings


def serve() -> None:
    """Listen on HOST:PORT until SIGTERM or SIGINT, then finish running requests."""
    from service.settings import Settings

    config = Settings()  # refused, if it must be, before the slow imports
    from service.bootstrap import api

    listen(api(config), config.process)


def listen(app: "FastAPI", process: "ProcessSettings") -> None:
    """Serve until told to stop. Exits with 3 when the port cannot be had."""
    import uvicorn

    from service.cli.connections import BoundedConnection

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=process.host,
            port=process.port,
            http=BoundedConnection,
            # uvloop gives the interpreter up at every turn and waits for it behind each busy database thread: at three
            # times its load this process then hardly heard anybody, health checks included.
            loop="asyncio",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=25,
            timeout_keep_alive=75,  # longer than clients and balancers keep one, so none closes under a request
            server_header=False,
            proxy_headers=False,
        )
    )
    with suppress(KeyboardInterrupt):  # uvicorn stops cleanly first, then raises the signal again
        server.run()
    if not server.started:
        print(f"svc: cannot listen on {process.host}:{process.port}: is the port in use?", file=sys.stderr)
        sys.exit(3)
