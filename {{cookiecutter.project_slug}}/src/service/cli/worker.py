"""`svc worker`: the worker process."""


def worker() -> None:
    """Deliver queued effects until SIGTERM or SIGINT."""
    import asyncio

    from service.settings import Settings

    config = Settings()  # refused, if it must be, before the slow imports
    from service.bootstrap_worker import worker as run

    asyncio.run(run(config))
