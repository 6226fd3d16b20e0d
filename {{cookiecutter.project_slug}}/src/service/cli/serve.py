"""`svc serve`: the API process."""

import sys
from contextlib import suppress


def serve() -> None:
    """Listen on HOST:PORT until SIGTERM or SIGINT, then finish running requests."""
    from service.settings import Settings

    config = Settings()  # refused, if it must be, before the slow imports
    import uvicorn

    from service.bootstrap import api

    process, app = config.process, api(config)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=process.host,
            port=process.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=25,
            server_header=False,
            proxy_headers=False,
        )
    )
    with suppress(KeyboardInterrupt):  # uvicorn stops cleanly first, then raises the signal again
        server.run()
    if not server.started:
        print(f"svc: cannot listen on {process.host}:{process.port}: is the port in use?", file=sys.stderr)
        sys.exit(3)
