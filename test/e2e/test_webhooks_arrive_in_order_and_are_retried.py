"""Delivery: started before the end whatever its receiver does; failures are retried, and all is on record.

The schedule of retries in these tests is 100 ms, 200 ms, 300 ms (conftest.py), so four attempts in all.
"""
import pytest

from harness.assay import deliveries
from harness.sink import Answer, Sink


@pytest.fixture
def fresh_sink():
    """A receiver to which there is no connection yet. (On one that is kept, hanging up is no failure: it
    may have crossed with the request, which is therefore sent once more, in the same attempt.)"""
    sink = Sink()
    yield sink
    sink.close()


def test_the_end_waits_for_a_slow_receiver_of_the_start(assay, sink):
    slow = Answer(200, held=True)
    started, ended = sink.url(slow), sink.url()
    asset_id = assay.submit("small.jpg", onStart=started, onSuccess=ended)
    sink.wait_at(started, 1)
    assay.ended(asset_id)
    other = assay.submit("small.jpg", **sink.all())    # has its webhooks meanwhile
    sink.wait(other, 2)
    assert not sink.at(ended)
    assert deliveries(assay.asset(asset_id))["onSuccess"]["state"] == "waiting"
    slow.release()
    [arrival] = sink.wait_at(ended, 1)
    assert arrival.at >= sink.at(started)[0].answered_at


@pytest.mark.parametrize("first", [500, 404, 302, "hang up"])
def test_the_end_comes_after_a_start_that_failed(assay, fresh_sink, first):
    sink = fresh_sink
    answer = Answer(hang_up=True) if first == "hang up" else Answer(first, held=True)
    started, ended = sink.url(answer, 200), sink.url()
    asset_id = assay.submit("small.jpg", onStart=started, onSuccess=ended)
    sink.wait_at(started, 1)
    answer.release()
    sink.ending(asset_id)
    arrivals = sink.wait(asset_id, 3)
    assert [a.state for a in arrivals].count("success") == 1
    assert arrivals[0].state == "started" and arrivals[0].answered_at <= sink.at(ended)[0].at
    assert deliveries(assay.settled(asset_id))["onStart"]["attempts"] == 2


def test_the_end_comes_although_nobody_listens_for_the_start(assay, sink):
    closed = Sink()
    nowhere = closed.url()
    closed.close()
    asset_id = assay.submit("small.jpg", onStart=nowhere, onSuccess=sink.url())
    assert sink.ending(asset_id).state == "success"
    told = deliveries(assay.settled(asset_id))
    assert told["onStart"]["state"] == "dead" and told["onSuccess"]["state"] == "delivered"
    assert told["onStart"]["lastError"] and told["onStart"]["lastStatus"] is None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_success(assay, sink, status):
    url = sink.url(status)
    asset_id = assay.submit("small.jpg", onSuccess=url)
    told = deliveries(assay.settled(asset_id))["onSuccess"]
    assert (told["state"], told["attempts"], told["lastStatus"]) == ("delivered", 1, status)
    assert len(sink.at(url)) == 1


def test_a_failure_is_tried_again_with_the_same_id(assay, fresh_sink):
    sink = fresh_sink
    url = sink.url(Answer(hang_up=True), 500, 503, 200)
    asset_id = assay.submit("small.jpg", onSuccess=url)
    arrivals = sink.wait_at(url, 4)
    assert len({a.webhook_id for a in arrivals}) == 1 and len({a.body for a in arrivals}) == 1
    times = [int(a.header("webhook-timestamp")) for a in arrivals]
    assert times == sorted(times)
    told = deliveries(assay.settled(asset_id))["onSuccess"]
    assert (told["state"], told["attempts"], told["lastStatus"]) == ("delivered", 4, 200)


def test_pauses_between_attempts_follow_the_schedule(assay, sink):
    url = sink.url(500)
    asset_id = assay.submit("small.jpg", onSuccess=url)
    arrivals = sink.wait_at(url, 4)
    pauses = [later.at - earlier.answered_at for earlier, later in zip(arrivals, arrivals[1:])]
    for pause, least in zip(pauses, (0.1, 0.2, 0.3)):
        assert pause >= least * 0.5, pauses    # jitter may shorten it
    told = deliveries(assay.settled(asset_id))["onSuccess"]
    assert (told["state"], told["attempts"], told["lastStatus"]) == ("dead", 4, 500)
    assert told["nextAttemptAt"] is None and len(sink.at(url)) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(assay, sink, status):
    elsewhere = sink.url()
    url = sink.url(Answer(status, {"Location": elsewhere}), 200)
    asset_id = assay.submit("small.jpg", onSuccess=url)
    sink.wait_at(url, 2)
    assert deliveries(assay.settled(asset_id))["onSuccess"]["state"] == "delivered"
    assert not sink.at(elsewhere)


def test_gone_ends_it(assay, sink):
    url = sink.url(410)
    asset_id = assay.submit("small.jpg", onStart=url, onSuccess=sink.url())
    sink.ending(asset_id)
    told = deliveries(assay.settled(asset_id))["onStart"]
    assert (told["state"], told["attempts"], told["lastStatus"]) == ("dead", 1, 410)
    assert len(sink.at(url)) == 1


@pytest.mark.parametrize("status", [503, 429, 500])
def test_retry_after_is_obeyed(assay, sink, status):
    url = sink.url(Answer(status, {"Retry-After": "2"}), 200)
    assay.submit("small.jpg", onSuccess=url)
    first, second = sink.wait_at(url, 2, within=8)
    assert second.at - first.answered_at >= 1.9


def test_a_slow_receiver_does_not_stop_the_others(assay, sink):
    held = [Answer(200, held=True) for _ in range(20)]
    for answer in held:
        assay.submit("small.jpg", onSuccess=sink.url(answer))
    other = Sink()
    asset_id = assay.submit("small.jpg", onSuccess=other.url())
    other.ending(asset_id)
    other.close()
    for answer in held:
        answer.release()


def test_of_a_long_answer_only_the_status_counts(assay, sink):
    url = sink.url(Answer(200, body=b"x" * 1_000_000), 200)
    asset_id = assay.submit("small.jpg", onSuccess=url)
    told = deliveries(assay.settled(asset_id))["onSuccess"]
    assert (told["state"], told["attempts"]) == ("delivered", 1)


def test_proxies_of_the_environment_are_not_used(servers, sink):
    proxy = Sink()
    through = f"http://127.0.0.1:{proxy.port}"
    assay = servers.start(env={name: through for name in (
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")})
    asset_id = assay.submit("small.jpg", **sink.all())
    sink.wait(asset_id, 2)
    assert not proxy.arrivals
    proxy.close()


# --- to whom

def test_a_name_is_refused_by_the_address_it_resolves_to(servers, sink):
    assay = servers.start("--webhook-allow", "public")
    url = sink.url(host="localhost")
    asset_id = assay.submit("small.jpg", onStart=url, onSuccess=url)
    asset = assay.settled(asset_id)
    assert asset["state"] == "success"    # what a name means is known only when it is used
    for name in ("onStart", "onSuccess"):
        assert deliveries(asset)[name]["state"] == "dead"
        assert deliveries(asset)[name]["attempts"] <= 1 and deliveries(asset)[name]["lastError"]
    assert not sink.at(url)


def test_a_literal_address_that_policy_refuses_is_a_finding(servers, sink):
    assay = servers.start("--webhook-allow", "public")
    url = sink.url()
    asset = assay.settled(assay.submit("small.jpg", onStart=url, onFailure=url))
    assert asset["errors"] == {"onStart": ["is not an allowed URL"], "onFailure": ["is not an allowed URL"]}
    assert not sink.at(url)


def test_deny_wins_over_allow(servers, sink):
    assay = servers.start("--webhook-allow", "loopback,127.0.0.0/8", "--webhook-deny", "127.0.0.1/32")
    url = sink.url()
    asset = assay.settled(assay.submit("small.jpg", onSuccess=url))
    assert asset["errors"] == {"onSuccess": ["is not an allowed URL"]}


def test_with_none_allowed_every_delivery_is_recorded_as_off(servers, sink):
    assay = servers.start("--webhook-allow", "none")
    url = sink.url()
    asset = assay.settled(assay.submit("small.jpg", onStart=url, onSuccess="http://169.254.169.254/"))
    assert asset["state"] == "success"
    assert deliveries(asset)["onStart"]["state"] == "off" and deliveries(asset)["onSuccess"]["state"] == "off"
    asset = assay.settled(assay.submit("small.jpg", onStart="nonsense", onFailure=url))
    assert asset["errors"] == {"onStart": ["is not a valid URL"]}
    assert deliveries(asset)["onFailure"]["state"] == "off"
    assert not sink.at(url)
