"""At least once, over kill -9 between lease, send and settle: the receiver itself kills its sender."""
import os
import random
import threading

import pytest

from harness.deadline import eventually
from harness.sink import Answer, Sink

SEED = int(os.environ.get("SEED") or random.randrange(2 ** 32))


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.close()


def killer(assay):
    """Called by the receiver with a request in hand: the sender is gone before it gets an answer."""
    return lambda arrival: assay.kill()


def states_at(sink, urls):
    return {name: [a.state for a in sink.at(url)] for name, url in urls.items()}


def revive(assay):
    """Start it if it is dead. It may be killed again before it is ready: a webhook may be quicker."""
    if not assay.is_running():
        assay.start(ready=False)
        eventually(lambda: not assay.is_running() or is_ready(assay), 20, "it is ready, or dead")


def is_ready(assay):
    try:
        return assay.get("/readyz", timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("victim", ["onStart", "onSuccess"])
def test_killed_while_a_request_is_unanswered_it_is_sent_again(servers, sink, victim):
    assay = servers.start()
    urls = sink.all()
    urls[victim] = sink.url(Answer(200, during=killer(assay)), 200)
    asset_id = assay.submit("small.jpg", **urls)
    sink.wait_at(urls[victim], 1)
    eventually(lambda: not assay.is_running(), 5, "it is dead")
    assay.start()
    arrivals = sink.wait_at(urls[victim], 2)
    assert len({a.webhook_id for a in arrivals}) == 1 and len({a.body for a in arrivals}) == 1
    asset = assay.settled(asset_id)
    assert asset["state"] == "success"
    # the start's first attempt whose end is on record was over before the end's first began
    starts, ends = sink.at(urls["onStart"]), sink.at(urls["onSuccess"])
    assert min(a.at for a in ends) >= min(a.at for a in starts)
    assert {a.state for a in starts} == {"started"} and {a.state for a in ends} == {"success"}


@pytest.mark.parametrize("victim", ["onStart", "onSuccess"])
def test_killed_just_after_the_answer_nothing_is_lost(servers, sink, victim):
    """Between the answer and its record there is only a moment; both sides of it are right."""
    for delay_ms in (0, 1, 3, 10):
        assay = servers.start()
        urls = sink.all()

        def kill_soon(arrival, delay_ms=delay_ms, assay=assay):
            timer = threading.Timer(delay_ms / 1000, assay.kill)
            timer.daemon = True
            timer.start()
        urls[victim] = sink.url(Answer(200, during=kill_soon), 200)
        asset_id = assay.submit("small.jpg", **urls)
        sink.wait_at(urls[victim], 1)
        eventually(lambda assay=assay: not assay.is_running(), 5, "it is dead")
        assay.start()
        told = assay.settled(asset_id)["notifications"]
        assert told["onStart"]["state"] == "delivered" and told["onSuccess"]["state"] == "delivered"
        for name in ("onStart", "onSuccess"):
            arrivals = sink.at(urls[name])
            assert 1 <= len(arrivals) <= 2 and len({a.webhook_id for a in arrivals}) == 1
        assay.stop()


def test_killed_at_random_moments_every_event_arrives(servers, sink):
    print(f"SEED={SEED}")
    chance = random.Random(SEED)
    assay = servers.start("--workers", "2")
    urls, kills, lock = {}, [0], threading.Lock()

    def maybe_kill(arrival):
        with lock:
            if kills[0] < 8 and chance.random() < 0.05:
                kills[0] += 1
                assay.kill()

    class Sometimes(Answer):
        """One answer that many requests get."""
        def __init__(self):
            super().__init__(200, during=maybe_kill)

    def post(n):
        for _ in range(n):
            if not assay.is_running():
                return
            mine = {"onStart": sink.url(Sometimes()), "onSuccess": sink.url(Sometimes())}
            try:
                urls[assay.submit("small.jpg", **mine)] = mine
            except OSError:    # killed meanwhile: what got no 202 was promised nothing
                eventually(lambda: not assay.is_running(), 5, "it is dead")

    def complete():
        return all(states_at(sink, mine)["onStart"] and states_at(sink, mine)["onSuccess"]
                   for mine in urls.values())

    while len(urls) < 150:
        revive(assay)
        post(10)

    def all_there():
        revive(assay)    # with every lease of before void, so that nothing waits for its end
        return complete()
    eventually(all_there, 60, f"every event has arrived (SEED={SEED})")
    with lock:
        killed, kills[0] = kills[0], 8
    assert killed >= 3
    revive(assay)
    for asset_id, mine in urls.items():
        starts, ends = sink.at(mine["onStart"]), sink.at(mine["onSuccess"])
        assert len({a.webhook_id for a in starts}) == 1 and len({a.webhook_id for a in ends}) == 1
        assert min(a.at for a in starts) <= min(a.at for a in ends), asset_id
        told = assay.settled(asset_id, within=20)["notifications"]
        assert told["onStart"]["state"] == "delivered" and told["onSuccess"]["state"] == "delivered"
