"""Requests that are no good: the right status, a problem document, and every fault by JSON pointer."""
import http.client
import json

import pytest

from harness.client import pointers, problem
from harness.wire import Wire

GOOD = {"assetPath": {"location": "local", "path": "small.jpg"}}
LIMIT = 64 * 1024


# --- not JSON

@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"}", b"{}x", b"{} {}", b"nul", b"'a'", b"{\"a\":1,}", b"[1,]", b"{a:1}", b"\xef\xbb\xbf{}",
    b"NaN", b"[-]", b"[01]", b"\"\x01\"", b"\"\\x\"", b"{\"assetPath\":"])
def test_a_body_that_is_not_json_is_a_400(assay, body):
    document = problem(assay.post(body), 400)
    assert "json" in document["detail"].lower() or document.get("errors"), document


@pytest.mark.parametrize("body", [
    b'{"assetPath":{"location":"local","path":"small.jpg"},"assetPath":{"location":"local","path":"x"}}',
    b'{"assetPath":{"location":"local","path":"small.jpg","path":"good.jpg"}}',
    b'{"assetPath":{"location":"local","path":"small.jpg","p\\u0061th":"good.jpg"}}',
    b'{"assetPath":{"location":"local","path":"small.jpg\\u0000"}}',
    b'{"assetPath":{"location":"local","path":"small.jpg\x00"}}',
    b'{"assetPath":{"location":"local","path":"small\xff.jpg"}}',
    b'{"assetPath":{"location":"local","path":"\xc0\xaf"}}',
    b'{"assetPath":{"location":"local","path":"\xed\xa0\x80"}}',
    b'{"assetPath":{"location":"local","path":"\\ud800"}}',
    b'{"assetPath":{"location":"local","path":"\\udc00\\ud800"}}',
    b'{"assetPath":{"location":"local","path":"small.jpg"},"x\\u0000":1}',
], ids=["key", "inner key", "escaped key", "NUL escape", "NUL", "ff", "overlong", "utf-8 surrogate",
        "lone surrogate", "surrogates in the wrong order", "NUL in a key"])
def test_what_parsers_read_differently_is_a_400(assay, body):
    problem(assay.post(body), 400)


def nested(depth):
    return b"[" * depth + b"]" * depth


def test_more_than_16_levels_are_a_400(assay):
    problem(assay.post(nested(16)), 422)
    problem(assay.post(nested(17)), 400)
    problem(assay.post(nested(30000)), 400)
    problem(assay.post(b"{\"a\":" * 17 + b"1" + b"}" * 17), 400)


def test_brackets_within_strings_are_no_levels(assay):
    path = "[" * 40 + "\\\"" + "{" * 40
    assert assay.post(b'{"assetPath":{"location":"local","path":"%s"}}' % path.encode()).status == 202


@pytest.mark.parametrize("body", [
    "{ \u201cassetPath\u201d: { \u201clocation\u201d: \u201clocal\u201d, \u201cpath\u201d: \u201c./images/foo\u201d } }",
    "{ \"assetPath\": { \"location\": \u201clocal\u201d, \"path\": \"./images/foo\" } }"])
def test_pasted_curly_quotes_are_named(assay, body):
    document = problem(assay.post(body), 400)
    assert "quot" in document["detail"].lower(), document


@pytest.mark.parametrize("body", [
    '{ "assetPath": { "location": "local", "path": "./images/foo" } } // where it lies',
    '{ "assetPath": { "location": "local", // one of local\n "path": "./images/foo" } }',
    '{ /* where it lies */ "assetPath": { "location": "local", "path": "./images/foo" } }'])
def test_pasted_comments_are_named(assay, body):
    document = problem(assay.post(body), 400)
    assert "comment" in document["detail"].lower(), document


# --- not of the shape

@pytest.mark.parametrize("body, faults", [
    ({}, {"/assetPath"}),
    ([], {""}), (b'"text"', {""}), (5, {""}), (None, {""}), (True, {""}),
    ({"assetPath": None}, {"/assetPath"}),
    ({"assetPath": "small.jpg"}, {"/assetPath"}),
    ({"assetPath": {}}, {"/assetPath/location", "/assetPath/path"}),
    ({"assetPath": {"location": "local"}}, {"/assetPath/path"}),
    ({"assetPath": {"path": "small.jpg"}}, {"/assetPath/location"}),
    ({"assetPath": {"location": "s3", "path": "small.jpg"}}, {"/assetPath/location"}),
    ({"assetPath": {"location": "Local", "path": "small.jpg"}}, {"/assetPath/location"}),
    ({"assetPath": {"location": 1, "path": ["small.jpg"]}}, {"/assetPath/location", "/assetPath/path"}),
    ({**GOOD, "notifications": "http://localhost/"}, {"/notifications"}),
    ({**GOOD, "notifications": ""}, {"/notifications"}),
    ({**GOOD, "notifications": []}, {"/notifications"}),
    ({**GOOD, "notifications": {"onStart": 1, "onSuccess": {}, "onFailure": False}},
     {"/notifications/onStart", "/notifications/onSuccess", "/notifications/onFailure"}),
    ({"assetPath": {"location": "s3", "path": 5}, "notifications": {"onStart": 7, "onFailure": [1]}},
     {"/assetPath/location", "/assetPath/path", "/notifications/onStart", "/notifications/onFailure"}),
])
def test_every_fault_of_the_shape_is_named(assay, body, faults):
    document = problem(assay.post(body), 422)
    assert pointers(document) == faults


def test_nothing_that_was_refused_is_kept(servers):
    assay = servers.start("--workers", "0")
    for body in (b"{", b"[]", b"{}", b"[" * 20):
        assert assay.post(body).status in (400, 422)
    assert assay.all_assets() == []


# --- too large, of another type

def padded(length):
    body = json.dumps(GOOD).encode()
    return body + b" " * (length - len(body))


def test_64_kib_are_accepted_and_one_byte_more_is_not(assay):
    assert assay.post(padded(LIMIT)).status == 202
    problem(assay.post(padded(LIMIT + 1)), 413)


def test_a_body_announced_too_large_is_refused_before_it_is_sent(assay):
    with Wire(assay.port) as wire:
        wire.send(b"POST /assets/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 10000000000\r\n\r\n")
        problem(wire.response(), 413)
        assert wire.closed()


def test_a_chunked_body_is_bounded_too(assay):
    with Wire(assay.port) as wire:
        wire.send(b"POST /assets/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        wire.send((b"1000\r\n" + b" " * 4096 + b"\r\n") * 17)
        problem(wire.response(), 413)


@pytest.mark.parametrize("content_type", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/jpeg",
    "application/jsonp", "application", "application/json, text/plain", "", None])
def test_another_content_type_is_a_415(assay, content_type):
    problem(assay.post(GOOD, content_type=content_type), 415)


@pytest.mark.parametrize("content_type", [
    "application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8",
    "application/json ; charset=\"utf-8\""])
def test_json_is_known_however_it_is_written(assay, content_type):
    assert assay.post(GOOD, content_type=content_type).status == 202


# --- other methods, other routes

@pytest.mark.parametrize("method, path, allowed", [
    ("GET", "/assets/image", {"POST", "OPTIONS"}),
    ("HEAD", "/assets/image", {"POST", "OPTIONS"}),
    ("PUT", "/assets/image", {"POST", "OPTIONS"}),
    ("PATCH", "/assets/image", {"POST", "OPTIONS"}),
    ("BREW", "/assets/image", {"POST", "OPTIONS"}),
    ("DELETE", "/assets/0000000", {"GET", "HEAD", "OPTIONS"}),
    ("POST", "/assets", {"GET", "HEAD", "OPTIONS"}),
    ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ("DELETE", "/readyz", {"GET", "HEAD", "OPTIONS"}),
])
def test_another_method_is_a_405_that_names_the_right_ones(assay, method, path, allowed):
    answer = assay.request(method, path)
    if method == "HEAD":
        assert answer.status == 405 and answer.body == b""
    else:
        problem(answer, 405)
    assert {word.strip() for word in answer.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("path", ["/assets/image", "/assets", "/assets/0000000", "/healthz", "/readyz"])
def test_options_tells_the_methods_and_opens_nothing_to_other_origins(assay, path):
    answer = assay.request("OPTIONS", path, headers={
        "Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
    assert answer.status == 204 and answer.body == b"" and answer.headers["allow"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", [
    "/", "/nothing", "/assets/image/", "/assets/", "//assets/image", "/ASSETS/image", "/assets/image/x",
    "/assets/%69mage", "/healthz/", "/assets/../healthz", "/readyz%00"])
def test_another_path_is_a_404(assay, path):
    problem(assay.get(path), 404)
    problem(assay.post(GOOD, path=path), 404, 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/assets"])
def test_head_is_get_without_the_body(assay, path):
    connection = http.client.HTTPConnection("127.0.0.1", assay.port, timeout=30)
    head = assay.request("HEAD", path, connection=connection)
    got = assay.request("GET", path, connection=connection)    # the same connection is still in step
    connection.close()
    assert (head.status, head.body) == (200, b"") and got.status == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_a_problem_repeats_nothing_of_the_body(assay):
    secret = "correct-horse-battery"
    for body in (f'{{"{secret}": }}', json.dumps({"assetPath": secret}), f'["{secret}"'):
        assert secret.encode() not in assay.post(body).body


# --- a full queue

def test_a_full_queue_answers_503_and_drops_nothing(servers):
    assay = servers.start("--workers", "0", "--max-queued", "3")
    ids = [assay.submit("small.jpg") for _ in range(3)]
    refused = assay.post(GOOD)
    problem(refused, 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert [asset["id"] for asset in assay.all_assets()] == ids[::-1]
