"""A FAKE Kubernetes API: the one call with which a vault asks whose token a pod has shown. Nothing else is Kubernetes.

It answers over TLS with a certificate of its own, and knows which tokens it has issued.
"""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey


@dataclass
class Cluster:
    """Issues service account tokens and tells whose they are."""

    folder: Path
    namespace: str
    url: str = ""
    ca_file: Path = Path()
    reviews: int = 0
    issued: dict[str, str] = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))

    def token_of(self, account: str, forged: bool = False) -> Path:
        """A file like the one that is projected into the account's pods; `forged`: the cluster does not know it."""
        now, subject = int(time.time()), f"system:serviceaccount:{self.namespace}:{account}"
        whose = {"namespace": self.namespace, "serviceaccount": {"name": account, "uid": f"uid-{account}"}}
        claims = {
            "iss": "https://kubernetes.default.svc", "sub": subject, "iat": now, "nbf": now, "exp": now + 600,
            "kubernetes.io": whose,
        }  # fmt: skip
        token = jwt.encode({"alg": "ES256"}, claims, self.key)
        if not forged:
            self.issued[token] = account
        file = self.folder / f"{account}.jwt"
        file.write_text(token)
        return file

    def review(self, token: str) -> dict[str, Any]:
        self.reviews += 1
        account = self.issued.get(token)
        if account is None:
            return {"authenticated": False, "error": "fake: unknown token"}
        name = f"system:serviceaccount:{self.namespace}:{account}"
        return {"authenticated": True, "user": {"username": name, "uid": f"uid-{account}"}}


@contextmanager
def fake_kubernetes(folder: Path, namespace: str) -> Iterator[Cluster]:
    """The fake, until the block ends."""
    cluster = Cluster(folder, namespace)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(_body(self))
            answer = {
                "kind": "TokenReview",
                "apiVersion": "authentication.k8s.io/v1",
                "status": cluster.review(asked["spec"]["token"]),
            }
            content = json.dumps(answer).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cluster.ca_file, key_file = _certificate(folder)
    context.load_cert_chain(cluster.ca_file, key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    cluster.url = f"https://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """The vault sends it in chunks."""
    if "content-length" in request.headers:
        return request.rfile.read(int(request.headers["content-length"]))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake kubernetes")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "fake-kubernetes.pem", folder / "fake-kubernetes.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, none))
    return files
