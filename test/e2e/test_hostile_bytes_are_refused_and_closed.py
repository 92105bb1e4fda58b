"""Requests that two readers could understand differently (RFC 9112): refused, and the connection closed.

Behind each of them lies a second request, as a smuggler would place it: it must never be answered.
"""
import json

import pytest

from harness.client import problem
from harness.deadline import eventually
from harness.wire import Wire

BODY = b'{"assetPath":{"location":"local","path":"small.jpg"}}'
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*fields, body=BODY, version=b"1.1"):
    head = [b"POST /assets/image HTTP/" + version, b"Host: localhost", b"Content-Type: application/json", *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def get(*fields, line=b"GET /healthz HTTP/1.1", host=b"Host: localhost"):
    return b"\r\n".join(filter(None, (line, host, *fields))) + b"\r\n\r\n"


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

FRAMING = {
    "length and chunked": post(LENGTH, CHUNKED, body=CHUNKS),
    "chunked and length": post(CHUNKED, LENGTH, body=CHUNKS),
    "two lengths that differ": post(LENGTH, b"Content-Length: 0"),
    "two lengths in one field": post(b"Content-Length: 53, 53"),
    "a length with a sign": post(b"Content-Length: +53"),
    "a negative length": post(b"Content-Length: -1"),
    "a hexadecimal length": post(b"Content-Length: 0x35"),
    "a length with a space": post(b"Content-Length: 5 3"),
    "an empty length": post(b"Content-Length:"),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551669"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "chunked in two fields": post(CHUNKED, CHUNKED, body=CHUNKS),
    "identity": post(b"Transfer-Encoding: identity", LENGTH),
    "almost chunked": post(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "chunked in HTTP/1.0": post(CHUNKED, body=CHUNKS, version=b"1.0"),
    "a chunk size with 0x": post(CHUNKED, body=b"0x35\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk size with a sign": post(CHUNKED, body=b"+35\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a negative chunk size": post(CHUNKED, body=b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "an empty chunk size": post(CHUNKED, body=b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": post(CHUNKED, body=b"10000000000000035\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk longer than its size": post(CHUNKED, body=b"34\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk that ends in a bare LF": post(CHUNKED, body=b"35\n" + BODY + b"\r\n0\r\n\r\n"),
}
FIELDS = {
    "a space before the colon": get(b"X-A : b"),
    "a tab before the colon": get(b"Content-Length\t: 0"),
    "a folded line": get(b"X-A: b\r\n c"),
    "a line that begins with a space": get(line=b"GET /healthz HTTP/1.1\r\n X-A: b"),
    "a field without a colon": get(b"X-A"),
    "a field without a name": get(b": b"),
    "a name with a control character": get(b"X\x01A: b"),
    "a name with a parenthesis": get(b"X(A): b"),
    "a bare CR in a value": get(b"X-A: b\rX-B: c"),
    "a bare LF between fields": get(b"X-A: b\nX-B: c"),
    "bare LFs": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "NUL in a value": get(b"X-A: b\x00c"),
    "no Host": get(host=b""),
    "two Hosts": get(b"Host: localhost"),
    "an empty second Host": get(b"Host:"),
    "a Host that is none": get(host=b"Host: local host"),
}
LINES = {
    "no version": get(line=b"GET /healthz"),
    "two spaces": get(line=b"GET  /healthz HTTP/1.1"),
    "a tab": get(line=b"GET\t/healthz HTTP/1.1"),
    "a trailing space": get(line=b"GET /healthz HTTP/1.1 "),
    "lower case": get(line=b"GET /healthz http/1.1"),
    "an overlong version": get(line=b"GET /healthz HTTP/1.10"),
    "another protocol": get(line=b"GET /healthz RTSP/1.1"),
    "a NUL in the target": get(line=b"GET /heal\x00thz HTTP/1.1"),
    "no target": get(line=b"GET HTTP/1.1"),
    "a target that is none": get(line=b"GET healthz HTTP/1.1"),
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "binary": bytes(range(128, 256)),
}


def refused(assay, data, *statuses):
    with Wire(assay.port) as wire:
        wire.send(data + SMUGGLED)
        answer = wire.response()
        assert answer is not None, "closed without an answer"
        problem(answer, *statuses)
        assert wire.closed(), f"not closed after {answer!r}; more: {wire.pending[:200]!r}"


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING.keys())
def test_doubtful_framing(assay, data):
    refused(assay, data, *((400, 413) if b"\r\n1000000" in data else (400,)))


@pytest.mark.parametrize("data", FIELDS.values(), ids=FIELDS.keys())
def test_doubtful_fields(assay, data):
    refused(assay, data, 400)


@pytest.mark.parametrize("data", LINES.values(), ids=LINES.keys())
def test_doubtful_request_lines(assay, data):
    refused(assay, data, 400)


def test_other_versions_and_what_is_too_long(assay):
    refused(assay, get(line=b"GET /healthz HTTP/2.0"), 400, 505)
    refused(assay, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505)
    refused(assay, get(line=b"GET /" + b"x" * 9000 + b" HTTP/1.1"), 414)
    refused(assay, get(b"X-A: " + b"x" * 17000), 431)
    refused(assay, get(*[b"X-%d: y" % i for i in range(2000)]), 431)
    refused(assay, get(line=b"CONNECT localhost:80 HTTP/1.1"), 400, 405, 501)


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_a_request_in_pieces_is_the_same_request(assay, cut):
    data = post(CHUNKED, body=b"5;name=\"value\"\r\n%s\r\n%x\r\n%s\r\n0\r\nTrailer: x\r\n\r\n"
                % (BODY[:5], len(BODY) - 5, BODY[5:]))
    with Wire(assay.port) as wire:
        for at in range(0, len(data), cut):
            wire.send(data[at:at + cut])
        answer = wire.response()
    assert answer.status == 202, answer


def test_pipelined_requests_are_answered_in_order(assay):
    requests = [get(), post(LENGTH), get(line=b"GET /nothing HTTP/1.1"), post(CHUNKED, body=CHUNKS),
                get(line=b"OPTIONS /assets/image HTTP/1.1"), post(LENGTH, body=b"x" * len(BODY)),
                get(line=b"HEAD /healthz HTTP/1.1"), post(LENGTH), get(line=b"GET /assets/0000000 HTTP/1.1")]
    with Wire(assay.port) as wire:
        wire.send(b"".join(requests) * 5)
        for _ in range(5):
            for request, status in zip(requests, (200, 202, 404, 202, 204, 400, 200, 202, 404)):
                assert wire.response(head=request.startswith(b"HEAD")).status == status


def test_a_client_that_stops_sending_still_gets_its_answer(assay):
    with Wire(assay.port) as wire:
        wire.send(post(LENGTH)).end()
        assert wire.response().status == 202
        assert wire.closed()


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(assay):
    with Wire(assay.port) as wire:
        wire.send(post(LENGTH, b"Expect: 100-continue", body=b""))
        eventually(lambda: wire.peek().startswith(b"HTTP/1.1 100"), 5, "100 Continue")
        assert wire.send(BODY).response().status == 202


def test_the_connection_is_kept_or_closed_as_asked(assay):
    with Wire(assay.port) as wire:
        assert wire.send(get() * 2).response().status == 200
        assert wire.response().status == 200
        assert wire.send(get(b"Connection: close")).response().status == 200
        assert wire.closed()
    with Wire(assay.port) as wire:
        assert wire.send(get(line=b"GET /healthz HTTP/1.0")).response().status == 200
        assert wire.closed()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0",
                                  "169.254.169.254", "127.0.0.2", "[::2]"])
@pytest.mark.parametrize("which", ["api", "monitor"])
def test_a_host_that_is_not_this_machine_is_misdirected(assay, host, which):
    with Wire(assay.port if which == "api" else assay.monitor_port) as wire:
        answer = wire.send(get(line=b"GET / HTTP/1.1", host=b"Host: " + host.encode())).response()
        assert answer.status == 421, answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80",
                                  "host.docker.internal", "host.docker.internal:5001"])
def test_the_names_of_this_machine_are_answered_on_any_port(assay, host):
    for port, line in ((assay.port, b"GET /healthz HTTP/1.1"), (assay.monitor_port, b"GET / HTTP/1.1")):
        with Wire(port) as wire:
            assert wire.send(get(line=line, host=b"Host: " + host.encode())).response().status == 200


def test_after_all_that_the_next_request_is_served(assay):
    assert json.loads(assay.get("/healthz").body) and assay.ended(assay.submit("small.jpg"))["state"] == "success"
