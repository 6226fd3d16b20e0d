"""`svc worker`: the worker process."""


def worker() -> None:
    """Deliver queued effects until SIGTERM or SIGINT."""
    import asyncio

    from service.bootstrap import worker as run

    asyncio.run(run())
