"""An old prototype of somebody else's, for the tests of foreign targets: other names, German labels, its own faults.

The first version says what it was told, shows its stack trace, hangs on one message and cannot make up its mind about
another. The better one does none of that.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADAPTER = """\
name: {name}
side_effects: none
side_effects_note: Answers and forgets, says its owner.
request:
  path: /api/einordnen
  headers: {{X-Api-Key: "${{PROTOTYPE_KEY}}"}}
  json: {{nachricht: {{betreff: "{{subject}}", texte: ["{{body}}"]}}, kanal: "{{channel}}"}}
answer:
  category: {{at: ergebnis.sparte, values: {{Rechnung: billing, Konto: account, Sonstiges: other}}}}
  priority: {{at: ergebnis.stufe, values: {{1: low, 2: normal, 3: urgent}}}}
  disposition: {{at: "weg[0]", values: {{direkt: auto, Mensch: review, Chef: escalate}}}}
  draft_reply: {{at: antwort.text}}
timeout_s: 1
concurrency: 8
"""
KEY = "of-the-prototype"
HANG_SECONDS = 3.0


@contextmanager
def prototype(better: bool = False) -> Iterator[str]:
    """Its address, until the block ends."""
    told = Counter[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("X-Api-Key") != KEY or self.path != "/api/einordnen":
                return self._send(403, b"no", "text/plain")
            try:
                message = json.loads(raw)["nachricht"]
                text = f"{message['betreff']}\n{message['texte'][0]}"
                if len(text) > 2000:
                    raise MemoryError
            except Exception as error:
                if better:
                    return self._send(400, b'{"fehler": "unlesbar"}', "application/json")
                page = f"<h1>500</h1>Traceback (most recent call last): {error!r} {raw.decode(errors='replace')}"
                return self._send(500, page.encode(), "text/html")
            if "carrier pigeon" in text and not better:
                time.sleep(HANG_SECONDS)
            self._send(200, json.dumps(self._answer(text)).encode(), "application/json")

        def _answer(self, text: str) -> dict[str, object]:
            low = text.lower()
            branch = (
                "Rechnung" if "invoice" in low or "charged" in low else "Konto" if "password" in low else "Sonstiges"
            )
            told[text] += 1
            if "perhaps" in low and not better and told[text] % 2:
                branch = "Rechnung"
            grave = "lawyer" in low and better
            echo = "Danke." if better else f"Sie schrieben: {text}"
            step = 3 if grave else 2
            way = ["Chef" if grave else "direkt" if "invoice" in low else "Mensch"]
            return {"ergebnis": {"sparte": branch, "stufe": step}, "weg": way, "antwort": {"text": echo}}

        def _send(self, status: int, body: bytes, media_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: it would fill the output of the tests."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # of the five that it has by default, the load test would overflow

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
