"""kill -9 of every process at once, at any moment: what was answered 202 has its ending and its webhooks."""
import os
import random
import threading
import time

from harness.assay import deliveries
from harness.ledger import Client, accepted, check_told
from harness.sink import Answer

SECONDS, KILLS, CLIENTS = 22, 6, 8


def test_what_was_queued_is_finished_after_the_restart(servers, sink):
    assay = servers.start("--workers", "0")
    urls = sink.all()
    ids = [assay.submit("good.jpg" if i % 2 else "text.jpg", **urls) for i in range(60)]
    assert {assay.asset(asset_id)["state"] for asset_id in ids} == {"queued"}
    assay.kill()
    assay.flags += ["--workers", "2"]
    assay.start()
    for i, asset_id in enumerate(ids):
        arrivals = sink.wait(asset_id, 2, within=10)
        assert [a.state for a in arrivals] == ["started", "success" if i % 2 else "failed"]
        assert assay.settled(asset_id)["state"] == arrivals[1].state


def test_a_delivery_that_was_under_way_is_made_again_and_the_end_comes_after_it(servers, sink):
    assay = servers.start()
    held = Answer(200, held=True)
    started, ended = sink.url(held, 200), sink.url()
    asset_id = assay.submit("good.jpg", onStart=started, onSuccess=ended)
    sink.wait_at(started, 1)
    assay.kill()
    held.release()
    assay.start()
    [end] = sink.wait_at(ended, 1, within=15)
    first, again = sink.wait_at(started, 2)
    assert first.webhook_id == again.webhook_id
    assert again.answered_at <= end.at
    assert deliveries(assay.settled(asset_id))["onStart"]["state"] == "delivered"


def test_a_retry_that_was_due_is_made_after_the_restart(servers, sink):
    assay = servers.start(schedule=("--webhook-schedule", "1s,1s,1s"))
    url = sink.url(500, 200)
    asset_id = assay.submit("good.jpg", onSuccess=url)
    sink.wait_at(url, 1)
    assay.kill()
    assay.start()
    sink.wait_at(url, 2, within=15)
    assert deliveries(assay.settled(asset_id))["onSuccess"]["state"] == "delivered"


def test_every_id_of_the_ledger_has_one_ending_and_its_webhooks(servers, sink):
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"SEED={seed} replays these moments")
    moments = random.Random(seed)
    assay = servers.start("--workers", "2", "--log-level", "warn")
    over = threading.Event()
    clients = [Client(assay, sink, f"{seed}-{n}", over) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    shares = [moments.uniform(0.02, 1) for _ in range(KILLS)]
    for share in shares:
        over.wait(SECONDS * share / sum(shares))
        assay.kill()
        assay.start(ready=moments.random() < 0.7)
    assay.wait_ready()
    over.wait(1)
    over.set()
    ledger = accepted(clients)
    posted = sum(client.posted for client in clients)
    print(f"{len(ledger)} accepted for certain of {posted} posted")
    assert len(ledger) > 10 * KILLS

    began = time.monotonic()
    for asset_id, state in ledger.items():
        check_history(assay, sink, asset_id, state)
    print(f"settled after {time.monotonic() - began:.1f} s more")

    stored = {asset["id"]: asset["state"] for asset in assay.all_assets()}
    assert len(ledger) <= len(stored) <= posted
    assert not [asset_id for asset_id in ledger if asset_id not in stored]
    assert set(stored.values()) <= {"success", "failed"}, "something never ended"
    for state in ("success", "failed"):
        assert len(assay.all_assets(state=state)) == list(stored.values()).count(state)
    figures = assay.figures()
    assert figures["accepted"] == figures["success"] + figures["failed"] == len(stored), figures


def check_history(assay, sink, asset_id, state):
    """Exactly one ending, told at least once, and started before it."""
    sink.ending(asset_id, within=15)
    asset = assay.settled(asset_id, within=10)
    assert asset["state"] == state, asset
    assert {d["state"] for d in deliveries(asset).values()} == {"delivered"}, asset
    check_told(sink, asset_id, state)
