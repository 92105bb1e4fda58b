"""Notifications whose URL is not valid or not allowed are findings of the asset, beside the file's own."""
import json
import os

import pytest

INVALID, DISALLOWED = "is not a valid URL", "is not an allowed URL"


@pytest.mark.parametrize("name", ["onStart", "onSuccess", "onFailure"])
def test_an_invalid_url_fails_the_asset_under_its_own_name(assay, sink, name):
    urls = {**sink.all(), name: "nonsense"}
    asset_id = assay.submit("good.jpg", **urls)
    asset = assay.settled(asset_id)
    assert asset["state"] == "failed"
    assert asset["errors"] == {name: [INVALID]}
    expected = [state for place, state in (("onStart", "started"), ("onFailure", "failed")) if place != name]
    assert [arrival.state for arrival in sink.of(asset_id)] == expected


def test_all_three_and_the_file_are_told_together(assay):
    asset = assay.settled(assay.submit(
        "too-wide-and-high.jpg", onStart="", onSuccess="ftp://example.com/", onFailure="http://"))
    assert list(asset["errors"].items()) == [
        ("asset", ["has a width greater than 1000px", "has a height greater than 1000px"]),
        ("onStart", [INVALID]), ("onSuccess", [INVALID]), ("onFailure", [INVALID])]
    assert {(f["field"], f["code"]) for f in asset["findings"]} == {
        ("asset", "too_wide"), ("asset", "too_high"),
        ("onStart", "invalid_url"), ("onSuccess", "invalid_url"), ("onFailure", "invalid_url")}


def test_with_an_invalid_start_only_the_terminal_event_is_sent(assay, sink):
    failure = sink.url()
    asset_id = assay.submit("text.jpg", onStart="http://exa mple.com/", onFailure=failure)
    [arrival] = sink.wait(asset_id, 1)
    assert arrival.body == (b'{"id":"%s","state":"failed","errors":{"asset":["is not an image","is not a jpeg"],'
                            b'"onStart":["is not a valid URL"]}}' % asset_id.encode())
    assay.settled(asset_id)
    assert len(sink.of(asset_id)) == 1


@pytest.mark.parametrize("url", [
    "http://169.254.169.254/latest/meta-data/", "http://169.254.169.254:8080/", "http://0.0.0.0:9000/",
    "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/", "http://[::]:9000/"])
def test_a_literal_address_that_is_never_right_is_not_allowed(assay, sink, url):
    failure = sink.url()
    asset_id = assay.submit("good.jpg", onSuccess=url, onFailure=failure)
    sink.ending(asset_id)
    asset = assay.settled(asset_id)
    assert asset["errors"] == {"onSuccess": [DISALLOWED]}
    assert [f["code"] for f in asset["findings"]] == ["disallowed_url"]


@pytest.mark.parametrize("url", [
    "http://127.1:9000/", "http://0x7f.1/", "http://2130706433/", "http://user:pass@localhost/", "//localhost/",
    "localhost:9000", "http:/localhost", "http://localhost:0/", "http://localhost:65536/", "http://h\\@evil/",
    "http://h/%zz", "javascript:alert(1)", "http://ex\u00e4mple.com/", "http://h/ ", " http://h/", "http://h/\n",
    "http://h/" + "x" * 2048])
def test_what_programs_read_differently_is_not_valid(assay, url):
    assert assay.settled(assay.submit("good.jpg", onFailure=url))["errors"] == {"onFailure": [INVALID]}


def test_a_valid_url_of_every_shape_receives_its_event(assay, sink):
    plain = sink.url()
    host = f"localhost:{sink.port}"
    for url in (plain, f"HTTP://{host}/a/b?x=%20&y=1#part", f"http://LOCALHOST:{sink.port}", f"http://{host}?q"):
        asset_id = assay.submit("good.jpg", onSuccess=url)
        assert sink.ending(asset_id).state == "success"
    assert [a.path for a in sink.of(asset_id)] == ["/?q"]


def test_every_url_of_the_cases_is_judged_by_the_written_rule(servers, shared):
    if not shared or not os.path.exists(os.path.join(shared, "urls", "cases.jsonl")):
        pytest.skip("there are no cases of URLs beside the project")
    assay = servers.start("--webhook-allow", "none")    # judged by the written rule alone, and none is sent
    with open(os.path.join(shared, "urls", "cases.jsonl"), encoding="utf-8") as f:
        cases = [json.loads(line) for line in f]
    wrong, ids = [], {}
    for case in cases:
        answer = assay.post({"assetPath": {"location": "local", "path": "small.jpg"},
                             "notifications": {"onStart": case["url"]}})
        if answer.status == 202:
            ids[answer.json["id"]] = case
        elif case["valid"] or "\0" not in case["url"]:
            wrong.append((case, answer))
    for asset_id, case in ids.items():
        judged_valid = not assay.ended(asset_id, within=20).get("errors")
        if judged_valid != case["valid"]:
            wrong.append((case, judged_valid))
    assert not wrong, f"{len(wrong)} of {len(cases)}: {wrong[:10]}"
