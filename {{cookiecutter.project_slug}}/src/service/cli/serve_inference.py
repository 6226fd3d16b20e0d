"""`svc serve-inference`: the engine in a process of its own, for as many replicas as the models deserve."""


def serve_inference() -> None:
    """Answer the API processes whose INFERENCE_URL names HOST:PORT. Needs the vault and the models, no database."""
    from service.settings import Settings

    config = Settings()  # refused, if it must be, before the slow imports
    from service.bootstrap_inference import inference_api
    from service.cli.serve import listen

    listen(inference_api(config), config.process)
