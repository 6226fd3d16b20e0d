"""The yardstick of `svc bench`: what a prototype does and nothing else. No key, no database, no telemetry, no limit."""

import argparse
import json
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from dev.example import contract


def create_app(model_url: str) -> FastAPI:
    """One route: ask the model, validate, answer."""
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    http = httpx2.AsyncClient(timeout=10)
    schema, validate = contract()

    @app.post("/ask")
    async def ask(message: dict[str, str]) -> Any:
        body = {
            "model": "stand-in",
            "messages": [{"role": "user", "content": json.dumps(message)}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}},
        }
        answer = (await http.post(f"{model_url}/chat/completions", json=body)).json()
        return validate(answer["choices"][0]["message"]["content"])

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    uvicorn.run(create_app(given.model), host="127.0.0.1", port=given.port, log_level="warning", access_log=False)
