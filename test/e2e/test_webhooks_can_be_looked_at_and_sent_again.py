"""What became of each event, attempt by attempt; and dead letters, which are kept, counted and sent again."""
import pytest

from harness.assay import deliveries
from harness.client import problem
from harness.deadline import eventually
from harness.sink import Answer, Sink


@pytest.fixture
def dead(servers, sink):
    """A server with ten dead letters, for a receiver that has come back since."""
    server = servers.start("--webhook-schedule", "100ms")
    gone = Sink()
    for i in range(10):
        server.settled(server.submit("small.jpg", onSuccess=gone.url(Answer(410), 200)))
    yield server, gone
    gone.close()


def webhooks(server, **query):
    found, after = [], None
    while True:
        asked = {**query, **({"after": after} if after else {})}
        page = server.get("/webhooks?" + "&".join(f"{k}={v}" for k, v in asked.items()))
        assert page.status == 200, page
        found += page.json["webhooks"]
        after = page.json["next"]
        if after is None:
            return found


def test_each_attempt_is_on_record(assay, sink):
    url = sink.url(Answer(500, body=b"out of \xff paint \0" + b"x" * 3000), Answer(302), 200)
    asset_id = assay.submit("small.jpg", onStart=sink.url(Answer(200, body=b"thanks")), onSuccess=url)
    asset = assay.settled(asset_id)
    started, ended = asset["deliveries"]
    assert (started["notification"], ended["notification"]) == ("onStart", "onSuccess")
    assert [a["answer"] for a in started["log"]] == ["thanks"]
    assert [(a["status"], a["error"]) for a in ended["log"]] == [(500, "status"), (302, "status"), (200, None)]
    first = ended["log"][0]
    assert first["answer"].startswith("out of \ufffd paint \0xxx") and len(first["answer"].encode()) <= 1030
    assert first["durationMs"] >= 0 and first["at"] <= ended["log"][1]["at"] <= asset["deliveries"][1]["lastAttemptAt"]
    [arrival, *_] = sink.at(url)
    one = assay.get(f"/webhooks/{arrival.webhook_id}")
    assert one.status == 200 and one.json == ended
    assert "log" not in webhooks(assay, limit=1)[0]


def test_an_attempt_without_an_answer_has_its_word(assay):
    closed = Sink()
    url = closed.url()
    closed.close()
    [event] = assay.settled(assay.submit("small.jpg", onSuccess=url))["deliveries"]
    assert [(a["status"], a["error"], a["answer"]) for a in event["log"]] == [(None, "refused", None)] * 4


def test_dead_letters_are_listed_page_by_page(dead):
    server, _ = dead
    found = webhooks(server, state="dead", limit=3)
    assert len(found) == 10 and len({w["id"] for w in found}) == 10
    assert {w["state"] for w in found} == {"dead"} and {w["lastStatus"] for w in found} == {410}
    assert webhooks(server, state="delivered") == [] == webhooks(server, state="off")


def test_one_is_sent_again_under_its_id(dead):
    server, gone = dead
    [first, *_] = webhooks(server, state="dead", limit=1)
    answer = server.request("POST", f"/webhooks/{first['id']}/resend")
    assert answer.status == 202 and answer.json == {"id": first["id"], "state": "pending"}
    assert answer.headers["location"] == f"/webhooks/{first['id']}"
    now = eventually(lambda: [w for w in webhooks(server, state="delivered") if w["id"] == first["id"]], 5,
                     "it is delivered")
    assert now[0]["attempts"] == 1
    log = server.get(f"/webhooks/{first['id']}").json["log"]
    assert [a["status"] for a in log] == [410, 200]
    assert sum(a.webhook_id == first["id"] for a in gone.arrivals) == 2
    again = server.request("POST", f"/webhooks/{first['id']}/resend")    # a delivered one, too
    assert again.status == 202


def test_all_are_sent_again_at_once(dead):
    server, gone = dead
    answer = server.request("POST", "/webhooks/resend?state=dead")
    assert answer.status == 202 and answer.json == {"resent": 10}
    eventually(lambda: len(webhooks(server, state="delivered")) == 10, 10, "all are delivered")
    assert server.request("POST", "/webhooks/resend?state=dead").json == {"resent": 0}
    assert len(gone.arrivals) == 20


def test_what_waits_or_never_was_cannot_be_sent_again(servers, sink):
    server = servers.start(schedule=("--webhook-schedule", "1h"))
    url = sink.url(503)
    server.submit("small.jpg", onSuccess=url)
    [arrival] = sink.wait_at(url, 1)
    eventually(lambda: server.get(f"/webhooks/{arrival.webhook_id}").json["attempts"] == 1, 5, "it is recorded")
    problem(server.request("POST", f"/webhooks/{arrival.webhook_id}/resend"), 409)
    for path in ("/webhooks/0000000_1_success", "/webhooks/nonsense", "/webhooks/" + "x" * 300):
        problem(server.get(path), 404)
        problem(server.request("POST", path + "/resend"), 404)


@pytest.mark.parametrize("query", ["?state=gone", "?limit=0", "?limit=1001", "?after=", "?after=nonsense",
                                   "?what=1", "?state=dead&x"])
def test_a_wrong_parameter_is_refused(assay, query):
    problem(assay.get("/webhooks" + query), 400)


@pytest.mark.parametrize("query", ["", "?state=delivered", "?state=dead&before=soon", "?all=1"])
def test_nothing_is_sent_again_by_mistake(assay, query):
    problem(assay.request("POST", "/webhooks/resend" + query), 400)
    problem(assay.get("/webhooks/resend?state=dead"), 405)


def test_notifications_still_tell_the_latest(assay, sink):
    asset = assay.settled(assay.submit("small.jpg", **sink.all()))
    assert {name: d["state"] for name, d in deliveries(asset).items()} == {
        "onStart": "delivered", "onSuccess": "delivered"}
