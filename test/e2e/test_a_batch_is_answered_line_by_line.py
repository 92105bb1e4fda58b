"""POST /assets/images: many references in one request, one answer for each, in order."""
import json

import pytest

from harness.assay import asset_body
from harness.client import problem

NDJSON = "application/x-ndjson"


def lines(answer):
    assert answer.headers["content-type"] == NDJSON
    return [json.loads(line) for line in answer.body.splitlines()]


def ndjson(*bodies):
    return "".join((body if isinstance(body, str) else json.dumps(body)) + "\n" for body in bodies)


def test_each_line_gets_an_id_or_its_faults(assay):
    answer = assay.post(ndjson(asset_body("small.jpg"), "nope", "", {"assetPath": 3}, asset_body("text.jpg")),
                        NDJSON, "/assets/images")
    assert answer.status == 202
    first, no_json, wrong, last = lines(answer)
    assert first["state"] == last["state"] == "queued" and first["id"] != last["id"]
    assert no_json["status"] == 400 and no_json["errors"][0]["pointer"] == ""
    assert wrong["status"] == 422 and wrong["errors"][0]["pointer"] == "/assetPath"
    assert assay.ended(first["id"])["state"] == "success"
    assert assay.ended(last["id"])["state"] == "failed"


def test_an_array_gets_an_array(assay):
    answer = assay.post([asset_body("small.jpg"), 1, asset_body("small.jpg")], path="/assets/images")
    assert answer.status == 202 and answer.headers["content-type"] == "application/json"
    first, wrong, last = answer.json
    assert wrong["status"] == 422
    for line in (first, last):
        assert assay.asset(line["id"])["id"] == line["id"]


def test_ten_thousand_at_once_keep_their_order(servers):
    assay = servers.start("--workers", "0")
    paths = [f"none-{i}.jpg" for i in range(10000)]
    ids = [line["id"] for line in lines(assay.post(
        ndjson(*(asset_body(path) for path in paths)), NDJSON, "/assets/images"))]
    assert len(set(ids)) == len(paths)
    for i in (0, 1, 4999, 9999):
        assert assay.asset(ids[i])["assetPath"]["path"] == paths[i]
    assert assay.figures()["accepted"] == len(paths)
    problem(assay.post(ndjson(*(asset_body("a") for _ in range(10001))), NDJSON, "/assets/images"), 413)


def test_nothing_is_accepted_unless_there_is_room_for_all(servers):
    assay = servers.start("--workers", "0", "--max-queued", "5")
    assay.submit("small.jpg")
    answer = assay.post([asset_body("small.jpg")] * 5, path="/assets/images")
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert assay.figures()["accepted"] == 1
    assert assay.post([asset_body("small.jpg")] * 4, path="/assets/images").status == 202
    problem(assay.post([asset_body("small.jpg")] * 6, path="/assets/images"), 413)


def test_a_batch_can_be_sent_again_without_doubling(servers):
    assay = servers.start("--workers", "0")
    key = {"Idempotency-Key": "monday"}
    body = ndjson(asset_body("a"), "nope", asset_body("b"))
    first = assay.post(body, NDJSON, "/assets/images", key)
    again = assay.post(body, NDJSON, "/assets/images", key)
    assert first.status == 202 and again.body == first.body
    longer = lines(assay.post(body + ndjson(asset_body("c")), NDJSON, "/assets/images", key))
    assert longer[:3] == lines(first) and "id" in longer[3]
    other = lines(assay.post(ndjson(asset_body("z"), "nope", asset_body("b")), NDJSON, "/assets/images", key))
    assert other[0]["status"] == 422 and other[2] == lines(first)[2]
    assert assay.figures()["accepted"] == 3


@pytest.mark.parametrize("body, content_type, status", [
    ("", NDJSON, 422), ("\n\n", NDJSON, 422), ("[]", "application/json", 422), ("{}", "application/json", 422),
    ("[", "application/json", 400), ("[" * 18 + "]" * 18, "application/json", 400),
    ("a=b", "text/plain", 415), ("x" * (8 * 1024 * 1024 + 1), NDJSON, 413)])
def test_what_is_no_batch_is_refused(assay, body, content_type, status):
    try:
        answer = assay.post(body, content_type, "/assets/images")
    except ConnectionError:
        assert status == 413    # closed while the client was still sending
        return
    problem(answer, status)


def test_a_batch_without_one_good_line_is_422_and_says_why(assay):
    answer = assay.post(ndjson("1", "{}"), NDJSON, "/assets/images")
    assert answer.status == 422 and [line["status"] for line in lines(answer)] == [422, 422]
