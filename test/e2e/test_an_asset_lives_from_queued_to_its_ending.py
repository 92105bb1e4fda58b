"""The life of one asset as its client sees it: accepted, started, ended; and each step as a webhook."""
import hashlib
import re
import time

from harness import pictures
from harness.client import problem
from harness.sink import Answer

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def post(assay, path, **notifications):
    return assay.post({"assetPath": {"location": "local", "path": path}, "notifications": notifications})


def test_it_is_accepted_with_its_id_and_its_place(assay):
    answer = post(assay, "good.jpg")
    assert answer.status == 202
    asset_id = answer.json["id"]
    assert re.fullmatch(r"[0-9][a-z0-9]{6,12}", asset_id)
    assert list(answer.json.items()) == [("id", asset_id), ("state", "queued")]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/assets/{asset_id}"
    assert assay.get(answer.headers["location"]).json["id"] == asset_id


def test_every_acceptance_has_an_id_of_its_own(assay):
    ids = [assay.submit("small.jpg") for _ in range(50)]
    assert len(set(ids)) == 50


def test_a_good_image_is_started_then_a_success(assay, sink):
    urls = sink.all()
    asset_id = assay.submit("./good.jpg", **urls)
    started, ended = sink.wait(asset_id, 2, within=5)
    assert started.body == b'{"id":"%s","state":"started"}' % asset_id.encode()
    assert ended.body == b'{"id":"%s","state":"success"}' % asset_id.encode()
    assert started.answered_at <= ended.at
    assert urls["onStart"].endswith(started.path) and urls["onSuccess"].endswith(ended.path)
    assay.settled(asset_id)
    assert len(sink.of(asset_id)) == 2 and not sink.at(urls["onFailure"])


def test_a_bad_image_is_started_then_failed_with_its_errors(assay, sink):
    urls = sink.all()
    asset_id = assay.submit("too-wide.jpg", **urls)
    started, ended = sink.wait(asset_id, 2, within=5)
    assert started.body == b'{"id":"%s","state":"started"}' % asset_id.encode()
    assert ended.body == (b'{"id":"%s","state":"failed","errors":{"asset":["has a width greater than 1000px"]}}'
                          % asset_id.encode())
    assert urls["onFailure"].endswith(ended.path)
    assay.settled(asset_id)
    assert len(sink.of(asset_id)) == 2 and not sink.at(urls["onSuccess"])


def test_a_webhook_is_json_with_an_id_and_a_time_of_its_own(assay, sink):
    before = int(time.time())
    asset_id = assay.submit("good.jpg", **sink.all())
    arrivals = sink.wait(asset_id, 2, within=5)
    for arrival in arrivals:
        assert arrival.header("content-type") == "application/json"
        assert arrival.header("webhook-id") and "." not in arrival.header("webhook-id")
        assert before - 1 <= int(arrival.header("webhook-timestamp")) <= time.time() + 1
        assert arrival.header("webhook-signature") is None    # no secret is set
    assert arrivals[0].webhook_id != arrivals[1].webhook_id


def test_asking_on_receiving_the_end_shows_the_end(assay, sink):
    seen = {}

    def ask(arrival):
        seen[arrival.state] = assay.asset(arrival.id)["state"]

    url = sink.url(Answer(200, during=ask))
    for path in ("good.jpg", "text.jpg"):
        asset_id = assay.submit(path, onStart=url, onSuccess=url, onFailure=url)
        sink.ending(asset_id)
        assay.settled(asset_id)
    assert seen["success"] == "success"
    assert seen["failed"] == "failed"
    assert seen["started"] != "queued"


def test_nobody_needs_to_be_notified(assay):
    for body in ({}, {"notifications": None}, {"notifications": {}},
                 {"notifications": {"onStart": None, "onSuccess": None, "onFailure": None}}):
        answer = assay.post({"assetPath": {"location": "local", "path": "good.jpg"}, **body})
        assert answer.status == 202, (body, answer)
        assert assay.ended(answer.json["id"])["state"] == "success"


def test_one_notification_alone_is_sent_alone(assay, sink):
    for name, path, state in (("onStart", "good.jpg", "started"), ("onSuccess", "good.jpg", "success"),
                              ("onFailure", "text.jpg", "failed")):
        url = sink.url()
        asset_id = assay.submit(path, **{name: url})
        assay.settled(asset_id)
        assert [a.state for a in sink.wait(asset_id, 1)] == [state]


def test_the_record_tells_all_that_is_known(assay, images):
    asset = assay.ended(assay.submit("too-wide-and-high.jpg"))
    assert asset["state"] == "failed"
    assert asset["errors"] == {"asset": ["has a width greater than 1000px", "has a height greater than 1000px"]}
    image = asset["image"]
    data = (images / "too-wide-and-high.jpg").read_bytes()
    assert (image["format"], image["width"], image["height"]) == ("jpeg", 1001, 1002)
    assert image["bytes"] == len(data) and image["sha256"] == hashlib.sha256(data).hexdigest()
    assert "orientation" in image
    findings = {finding["code"]: finding for finding in asset["findings"]}
    assert set(findings) == {"too_wide", "too_high"}
    for code, measured in (("too_wide", 1001), ("too_high", 1002)):
        finding = findings[code]
        assert (finding["severity"], finding["field"]) == ("error", "asset")
        assert (finding["measured"], finding["allowed"]) == (measured, 1000)
        assert finding["message"] in asset["errors"]["asset"] and finding["remedy"]
    assert asset["attempts"] == 1


def test_times_are_utc_with_milliseconds_and_in_order(assay):
    asset = assay.ended(assay.submit("good.jpg"))
    times = {name: value for name, value in asset.items() if name.endswith("At")}
    assert len(times) >= 3
    assert all(TIME.fullmatch(value) for value in times.values()), times
    assert list(times.values()) == sorted(times.values()), times


def test_an_asset_without_errors_has_none_listed(assay):
    asset = assay.ended(assay.submit("good.jpg"))
    assert not asset.get("errors") and asset["findings"] == []


def test_an_unknown_id_is_not_found(assay):
    for asset_id in ("0000000", "1abcdefghijkl", "x", "9" * 13, "9" * 500, "%00", "..%2f", "Ä"):
        problem(assay.get(f"/assets/{asset_id}".replace("Ä", "%C3%84")), 404)


def test_a_file_is_judged_as_it_is_now(assay, images):
    path = images / "changing.jpg"
    path.write_bytes(pictures.jpeg(64, 48))
    assert assay.ended(assay.submit("changing.jpg"))["state"] == "success"
    path.write_bytes(b"words")
    assert assay.ended(assay.submit("changing.jpg"))["state"] == "failed"
    path.unlink()
    assert assay.ended(assay.submit("changing.jpg"))["errors"] == {"asset": ["is not reachable"]}
