"""SIGTERM and SIGINT: what is under way is finished or given back, and the process ends with 0."""
import signal
import threading
import time

import pytest

from harness import assay as program
from harness.client import request
from harness.deadline import eventually
from harness.ledger import Client, accepted
from harness.sink import Answer
from harness.wire import Wire


def is_closed(assay):
    try:
        request(assay.port, "GET", "/healthz", timeout=2)
        return False
    except OSError:
        return True


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once_and_leaves_no_process(servers, which):
    assay = servers.start()
    everyone = assay.processes()
    with Wire(assay.port) as idle:
        idle.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.response().status == 200
        began = time.monotonic()
        assay.signal(which)
        assert assay.wait_exit(5) == 0
        assert time.monotonic() - began < 5
    alive = program.alive
    eventually(lambda: not [pid for pid in everyone if alive(pid)], 5, "every process has ended")


def test_with_work_in_flight_nothing_is_lost(servers, sink):
    assay = servers.start("--workers", "2")
    slow = Answer(200, held=True)
    urls = {**sink.all(), "onStart": sink.url(slow, 200)}
    ids = [assay.submit("good.jpg" if i % 2 else "text.jpg", **urls) for i in range(200)]
    sink.wait_at(urls["onStart"], 1)
    began = time.monotonic()
    assay.signal(signal.SIGTERM)
    eventually(lambda: is_closed(assay), 5, "nothing more is accepted")
    slow.release()
    assert assay.wait_exit(25) == 0
    assert time.monotonic() - began < 25
    assay.start()
    for i, asset_id in enumerate(ids):
        assert sink.ending(asset_id, within=15).state == ("success" if i % 2 else "failed")
        assert assay.settled(asset_id)["state"] == ("success" if i % 2 else "failed")
        states = [a.state for a in sink.of(asset_id)]
        assert states[0] == "started" and len(set(states[1:]) - {"started"}) == 1, states


def test_what_is_accepted_while_it_drains_is_kept(servers, sink):
    assay = servers.start("--workers", "2", "--log-level", "warn")
    over = threading.Event()
    clients = [Client(assay, sink, n, over, pause=0.01) for n in range(8)]
    for client in clients:
        client.start()
    for _ in range(3):
        before = len(sink.arrivals)
        sink.until(lambda: len(sink.arrivals) > before + 100, 10, "work is going on")
        assay.stop()
        assay.start()
    over.set()
    for asset_id, state in accepted(clients).items():
        assert sink.ending(asset_id, within=15).state == state


def test_a_request_whose_body_is_on_its_way_is_answered_or_refused_but_never_half_done(servers):
    assay = servers.start()
    body = b'{"assetPath":{"location":"local","path":"small.jpg"}}'
    with Wire(assay.port) as wire:
        wire.send(b"POST /assets/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        assert assay.get("/healthz").status == 200    # the bytes before it have been read by now
        assay.signal(signal.SIGTERM)
        eventually(lambda: is_closed(assay), 5, "nothing more is accepted")
        answer = wire.send(body[10:]).response()
        assert answer is None or answer.status in (202, 503), answer
    assert assay.wait_exit(25) == 0
    assay.start()
    assert len(assay.all_assets()) == (1 if answer and answer.status == 202 else 0)


def test_a_receiver_that_never_answers_does_not_hold_it_beyond_its_time(servers, sink):
    assay = servers.start()
    url = sink.url(Answer(200, held=True), 200)
    asset_id = assay.submit("good.jpg", onSuccess=url)
    sink.wait_at(url, 1)
    began = time.monotonic()
    assay.signal(signal.SIGTERM)
    assert assay.wait_exit(25) == 0
    assert time.monotonic() - began < 25
    assay.start()
    sink.wait_at(url, 2)
    assert len({a.webhook_id for a in sink.of(asset_id)}) == 1


def test_a_second_signal_ends_it_at_once(servers, sink):
    assay = servers.start()
    url = sink.url(Answer(200, held=True), 200)
    assay.submit("good.jpg", onSuccess=url)
    sink.wait_at(url, 1)
    assay.signal(signal.SIGTERM)
    eventually(lambda: is_closed(assay), 5, "the drain has begun")
    assert assay.is_running(), "it should be waiting for the receiver"
    began = time.monotonic()
    assay.signal(signal.SIGTERM)
    assay.wait_exit(2)
    assert time.monotonic() - began < 2
    assay.start()
    sink.wait_at(url, 2)


def test_a_second_server_on_the_same_store_does_not_start(servers):
    assay = servers.start()
    second = servers.new(store=assay.store)
    second.start(ready=False)
    assert second.wait_exit(5) == 78
    lines = second.log().splitlines()
    assert len(lines) == 1 and "assay.db" in lines[0], lines
    assert assay.ended(assay.submit("small.jpg"))["state"] == "success"
    assay.stop()
    second.start()    # now it may


def test_a_second_server_on_the_same_port_does_not_start(servers):
    assay = servers.start()
    second = servers.new()
    second.port = assay.port
    second.start(ready=False)
    code = second.wait_exit(5)
    assert code in (1, 78), code
    assert str(assay.port) in second.log()
