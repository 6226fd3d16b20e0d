"""What one connection may cost, over real HTTP: its clocks, its bytes, its requests at once."""

import socket
import time
from http.client import HTTPResponse

import pytest

from service.cli import connections
from tests.processes import serving
from tests.workflow.test_admission import sized_app

GOOD = b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def status(connection: socket.socket) -> int:
    """Of one whole answer: head and body may come apart, and what is left of one is not the next."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


@pytest.fixture
def bounded():
    with serving(sized_app(), http=connections.BoundedConnection) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            yield connection


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(connections, "HEADERS_WITHIN_S", 0.4)
    monkeypatch.setattr(connections, "READ_WITHIN_S", 0.4)
    with serving(sized_app(), http=connections.BoundedConnection) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            yield connection


@pytest.mark.parametrize("sent", [b"", b"POST /size HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half of the headers"])
def test_a_connection_without_a_request_is_closed(hurried, sent):
    began = time.monotonic()
    hurried.sendall(sent)
    assert hurried.recv(1000) == b""
    assert 0.3 < time.monotonic() - began < 1


def test_headers_may_not_drip_on_a_connection_that_was_good_before(hurried):
    hurried.sendall(GOOD)
    assert status(hurried) == 200
    time.sleep(0.6)  # a connection that is kept may be idle for longer than headers may take
    hurried.sendall(GOOD)
    assert status(hurried) == 200
    began, ended = time.monotonic(), False
    for byte in GOOD:
        try:
            hurried.sendall(bytes([byte]))
            hurried.settimeout(0.05)
            ended = hurried.recv(1000) == b""
        except TimeoutError:
            continue
        except OSError:
            ended = True
        if ended:
            break
    assert ended
    assert time.monotonic() - began < 2


def test_a_body_may_take_longer_than_headers(hurried):
    hurried.sendall(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
    time.sleep(0.6)
    hurried.sendall(b"x")
    assert status(hurried) == 200


def ended(connection: socket.socket, *parts: bytes) -> bool:
    """Whether the connection is closed in time, whatever it answered before, if these are sent, a moment apart."""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.01)
        while connection.recv(100_000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


HEADER = b"x: " + b"a" * 20_000 + b"\r\n"
OPENING = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [OPENING, *[HEADER] * 5],
        [OPENING + b"x: ", *[b"a" * 20_000] * 5],
        [OPENING + HEADER * 4 + b"\r\n"],
        [b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"],
        [CHUNKED % b"/size" + b"1;", *[b"a" * 20_000] * 5],
        [CHUNKED % b"/size" + b"1\r\nx\r\n0\r\n", *[HEADER] * 5],
    ],
    ids=["headers", "one header", "headers at once", "path", "chunk extension", "trailers"],
)
def test_headers_and_the_like_have_a_size(bounded, parts):
    began = time.monotonic()
    assert ended(bounded, *parts)
    assert time.monotonic() - began < 0.4  # not by the clock


def test_large_headers_within_it_are_read(bounded):
    bounded.sendall(OPENING + HEADER * 3 + b"\r\n")
    assert status(bounded) == 200


def test_a_body_is_no_header(bounded):
    bounded.sendall(b"POST /size HTTP/1.1\r\n" + HEADER + b"Content-Length: 60000\r\n\r\n" + b"x" * 59_999)
    time.sleep(0.05)
    bounded.sendall(b"x")
    assert status(bounded) == 200
    bounded.sendall(CHUNKED % b"/size" + b"3e8\r\n" + b"\r\n3e8\r\n".join([b"x" * 1000] * 60) + b"\r\n0\r\n\r\n")
    assert status(bounded) == 200


def test_a_health_check_is_not_kept_for_the_rest_of_its_body(hurried):
    assert ended(hurried, CHUNKED % b"/health/live" + b"0\r\n")


def test_line_ends_keep_no_connection(hurried):
    hurried.sendall(GOOD)
    assert status(hurried) == 200
    assert ended(hurried, b"\r\n")


@pytest.mark.parametrize(("at_once", "answers"), [(3, 3), (4, 0), (5000, 0)])
def test_few_requests_wait_on_one_connection(hurried, at_once, answers):
    hurried.sendall(GOOD * at_once)
    hurried.settimeout(0.5)
    said = b""
    try:
        while more := hurried.recv(100_000):
            said += more
    except OSError:
        pass
    assert said.count(b"HTTP/1.1 200") == answers


def test_who_never_reads_is_cut_off(monkeypatch):
    """With an answer larger than the buffers on the way. Otherwise its request would stay in work for ever."""
    monkeypatch.setattr(connections, "READ_WITHIN_S", 0.4)
    told = []

    async def large(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 10_000_000, "more_body": True})
            await send({"type": "http.response.body"})
            told.append((await receive())["type"])

    with serving(large, http=connections.BoundedConnection) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(GOOD)
            time.sleep(0.2)
            assert told == []
            time.sleep(0.5)
            assert told == ["http.disconnect"]


@pytest.mark.parametrize("ending", [b"Connection: close", b"X-Kept: for a second"])
def test_nor_does_a_whole_answer_wait_for_ever(monkeypatch, ending):
    monkeypatch.setattr(connections, "READ_WITHIN_S", 0.4)
    lost = []

    class Watched(connections.BoundedConnection):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.set_write_buffer_limits(10_000_000)  # so that no `send` waits

        def connection_lost(self, exc):
            super().connection_lost(exc)
            lost.append(self)

    async def large(scope, receive, send):
        if scope["type"] == "http":
            size = 9_000_000
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
            await send({"type": "http.response.body", "body": b"x" * size})

    with serving(large, http=Watched, timeout_keep_alive=1) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(GOOD.replace(b"Host", ending + b"\r\nHost"))
            time.sleep(1.3)
            assert len(lost) == 1
