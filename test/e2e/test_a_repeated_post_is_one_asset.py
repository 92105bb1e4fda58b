"""Idempotency-Key: the same key and body give the first answer again, also after a kill -9."""
import threading

import pytest

from harness.assay import asset_body
from harness.client import problem

BODY = asset_body("small.jpg")


def post(assay, key, body=BODY, **more):
    return assay.post(body, headers={"Idempotency-Key": key}, **more)


def test_the_first_answer_comes_again(assay):
    first, again = post(assay, '"one"'), post(assay, '"one"')
    assert first.status == again.status == 202 and first.json == again.json
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert post(assay, "one").json == first.json    # bare is the same key as quoted
    assert post(assay, "two").json != first.json


def test_another_body_is_refused(assay):
    assert post(assay, "three").status == 202
    problem(post(assay, "three", asset_body("text.jpg")), 422)


def test_twins_in_flight_are_one(servers):
    assay = servers.start("--workers", "0", "--http-threads", "4")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(assay, "twins"))) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24 and {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert assay.figures()["accepted"] == 1


def test_it_survives_kill_9(servers):
    assay = servers.start("--workers", "0")
    first = post(assay, "lasting")
    assay.kill()
    assay.start()
    again = post(assay, "lasting")
    assert again.json == first.json and again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", '""', '"open', 'a b', '"a" "b"', '"a";b', "x" * 256, "{}", '"\\x"', "a,b"])
def test_what_is_no_key_is_refused(assay, key):
    problem(post(assay, key), 400)


def test_a_key_may_have_255_characters_and_escapes(assay):
    assert post(assay, "y" * 255).status == 202
    assert post(assay, '"a \\"b\\" \\\\"').status == 202


def test_a_refused_body_uses_no_key_up(assay):
    problem(post(assay, "later", {"assetPath": 1}), 422)
    assert post(assay, "later").status == 202
