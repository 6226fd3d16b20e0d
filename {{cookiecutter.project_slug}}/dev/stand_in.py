"""How a stand-in is served: on the loopback address only, quietly, until it is told to stop."""

import sys

import uvicorn
from starlette.types import ASGIApp

from dev.labels import NOTICE


def serve(app: ASGIApp, name: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. In-flight hangs do not hold up the stop for long."""
    print(f"{name}: {NOTICE}, on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
