"""api, workers and monitor as processes of their own over one Redis, and what happens when one of them, or
Redis itself, is killed, stopped or started again."""
import http.client
import os
import re
import signal
import socket
import threading
import time
import urllib.parse

import pytest

from harness import redis
from harness.assay import STATES, deliveries, run
from harness.deadline import eventually, patient
from harness.ledger import check_told
from harness.redis import LEASE_S

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason="there is no redis-server here")

PATHS = (("good.jpg", "success"), ("text.jpg", "failed"), ("small.jpg", "success"), ("missing.jpg", "failed"))


def submit_many(api, sink, n):
    """{id: the state it must end in}"""
    ids = {}
    for i in range(n):
        path, state = PATHS[i % len(PATHS)]
        ids[api.submit(path, **sink.all())] = state
    return ids


def check_all(api, sink, ids, within=30):
    """Each has one ending, told at least once, and started before it; and nothing else is in the store."""
    end = time.monotonic() + patient(within)
    for asset_id, state in ids.items():
        sink.ending(asset_id, within=max(1, (end - time.monotonic()) / patient(1)))
        asset = api.settled(asset_id, within=10)
        assert asset["state"] == state, asset
        assert {d["state"] for d in deliveries(asset).values()} == {"delivered"}, asset
        check_told(sink, asset_id, state)
    stored = {asset["id"]: asset["state"] for asset in api.all_assets()}
    assert {i: stored.get(i) for i in ids} == ids
    return stored


def counted(api):
    """{state: assets} as the store counts them, from /metrics."""
    text = api.get("/metrics").body.decode()
    return {state: int(float(re.search(rf'assay_assets{{state="{state}"}} (\S+)', text)[1])) for state in STATES}


def test_two_workers_share_the_assets_of_one_api(fleet, sink):
    api, monitor = fleet.part("api"), fleet.part("monitor")
    workers = [fleet.worker(), fleet.worker()]
    ids = submit_many(api, sink, 500)
    check_all(api, sink, ids)
    shares = [len(re.findall(r"event=asset_ended", worker.log())) for worker in workers]
    assert sum(shares) == 500 and min(shares) > 50, shares
    assert counted(api) == {"queued": 0, "started": 0, "success": 250, "failed": 250}
    assert fleet.redis.ask("HLEN", "{assay:0}:procs") == "2"    # the workers tell of themselves
    assert b"250" in monitor.get("/").body
    for part in (api, monitor, *workers):
        part.stop()


def test_the_assets_of_a_killed_worker_are_finished_by_another(fleet, sink):
    api, doomed = fleet.part("api"), fleet.worker()
    ids = submit_many(api, sink, 40)
    # stopped first, so that it surely has some in its hands
    doomed.signal(signal.SIGSTOP)
    ids.update(submit_many(api, sink, 10))
    doomed.signal(signal.SIGCONT)
    doomed.kill()
    killed = time.monotonic()
    fleet.worker()
    check_all(api, sink, ids)
    assert time.monotonic() - killed < patient(LEASE_S + 2)
    assert counted(api)["started"] == 0


def test_a_worker_that_fell_silent_does_not_end_an_asset_twice(fleet, sink):
    api, silent = fleet.part("api"), fleet.worker()
    ids = submit_many(api, sink, 30)
    silent.signal(signal.SIGSTOP)
    ids.update(submit_many(api, sink, 30))
    fleet.worker()
    for asset_id in ids:
        api.ended(asset_id, within=LEASE_S + 10)
    silent.signal(signal.SIGCONT)
    check_all(api, sink, ids)
    for asset_id in ids:
        assert api.asset(asset_id)["run"] == 1


# --- the monitor of many processes

def workers_of(monitor):
    return monitor.get("/api/workers").json


def name_of(worker):
    return f"{socket.gethostname()}:{worker.process.pid}"


def steer(monitor, worker, action, **fields):
    """Do it as a person does: by the link beside the process, and the page that asks."""
    page = monitor.get("/workers").body.decode()
    [row] = [row for row in page.split("<tr>") if name_of(worker) in row]
    path = re.search(rf'href="(/workers/\d+/{action})"', row)[1]
    token = re.search(r'name="token" value="([0-9a-f]{64})"', monitor.get(path).body.decode())[1]
    answer = monitor.post(urllib.parse.urlencode({"token": token, **fields}), path=path,
                          content_type="application/x-www-form-urlencoded")
    assert answer.status == 303, answer


def test_the_monitor_tells_of_every_worker(fleet, sink):
    api, monitor = fleet.part("api"), fleet.part("monitor")
    workers = [fleet.worker(), fleet.worker()]
    check_all(api, sink, submit_many(api, sink, 40))

    def told():
        all_of_them = workers_of(monitor)
        return sum(w["processed"] for w in all_of_them.values()) == 40 and all_of_them
    all_of_them = eventually(told, 10, "both have told what they did")
    assert set(all_of_them) == {name_of(worker) for worker in workers}
    for worker in all_of_them.values():
        assert worker["status"] is True and worker["state"] == "online" and worker["version"]
        assert worker["concurrency"] == worker["active"] == worker["wanted"] == 2 and worker["busy"] == 0
        assert worker["memoryBytes"] > 1 << 20 and worker["assets"] == []
        assert 0 <= time.time() - worker["lastSeen"] < patient(10) and worker["since"] < worker["lastSeen"]
    assert sum(w["failed"] for w in all_of_them.values()) == 20
    page = monitor.get("/workers").body.decode()
    assert all(name in page for name in all_of_them)
    # one that fell silent, of an older version; the container that it was started again in, which has all its
    # names; and one that is silent for so long that it is gone
    for number, pid, age, done in ((97, 99, 25, 6), (98, 98, 31, 0), (99, 99, 20, 7)):
        words = f"{int(1000 * (time.time() - age))} 30000 worker old 0.9 {pid} 4 1 {done} 0 1"
        fleet.redis.ask("HSET", "{assay:0}:procs", number, words)
    assert monitor.get("/api/workers").body.count(b'"old:99"') == 1
    late = workers_of(monitor)["old:99"]
    assert late["status"] is False and late["state"] == "late" and late["processed"] == 7
    assert late["failed"] is None and "old:98" not in workers_of(monitor)
    assert 'class="state late"' in monitor.get("/workers").body.decode()
    # one that ends is gone at once, one that is killed when the other has taken over what it had
    workers[0].stop()
    assert name_of(workers[0]) not in workers_of(monitor)
    fleet.worker()
    workers[1].kill()
    eventually(lambda: name_of(workers[1]) not in workers_of(monitor), LEASE_S + 30, "it is gone")


def test_a_worker_is_drained_and_resumed_from_the_monitor(fleet, sink):
    api, monitor = fleet.part("api"), fleet.part("monitor")
    rests, works = fleet.worker(), fleet.worker()
    eventually(lambda: len(workers_of(monitor)) == 2, 10, "both are known")
    steer(monitor, rests, "drain")
    assert workers_of(monitor)[name_of(rests)]["wanted"] == 0    # at once, and done with its next heartbeat
    eventually(lambda: workers_of(monitor)[name_of(rests)]["state"] == "drained", 15, "it is drained")
    before = rests.log().count("event=asset_ended")
    check_all(api, sink, submit_many(api, sink, 20))
    works.stop()
    waits = api.submit("good.jpg", **sink.all())
    assert rests.log().count("event=asset_ended") == before
    assert api.asset(waits)["state"] == "queued"
    assert "event=workers_resized from=2 to=0" in rests.log()
    steer(monitor, rests, "resize", active=1)
    eventually(lambda: workers_of(monitor)[name_of(rests)]["active"] == 1, 15, "it works with one thread")
    check_all(api, sink, {waits: "success"})
    steer(monitor, rests, "drain")
    eventually(lambda: workers_of(monitor)[name_of(rests)]["state"] == "drained", 15, "it is drained again")
    rests.stop()    # a drain from the monitor does not outlive the process
    rests.start()
    check_all(api, sink, {api.submit("good.jpg", **sink.all()): "success"})
    assert "event=monitor_action action=resize target=" + name_of(rests).rpartition(":")[0] in monitor.log()


def test_origins_that_any_worker_holds_back_from_are_told(fleet, sink):
    api, monitor = fleet.part("api"), fleet.part("monitor")
    worker = fleet.worker("--webhook-schedule", "1h")
    url = sink.url(*[500] * 50)
    for _ in range(12):
        api.submit("text.jpg", onFailure=url)
    [origin] = eventually(lambda: monitor.get("/api/webhooks").json["origins"], 15, "the breaker is told")
    assert origin["breaker"] == "open" and origin["process"] == name_of(worker) and origin["failed"] >= 10
    assert url.startswith(origin["origin"])
    page = monitor.get("/webhooks").body.decode()
    [row] = [row for row in page.split("<tr>") if origin["origin"] in row and "state open" in row]
    assert name_of(worker) in row


class Client(threading.Thread):
    """Posts until it is told to stop, and keeps what was answered 202."""

    def __init__(self, api, sink, over):
        super().__init__(daemon=True)
        self.api, self.sink, self.over = api, sink, over
        self.ledger, self.refused, self.strange = {}, 0, []

    def run(self):
        n = 0
        while not self.over.wait(0.01):
            path, state = PATHS[n % len(PATHS)]
            n += 1
            try:
                answer = self.api.post({"assetPath": {"location": "local", "path": path},
                                        "notifications": self.sink.all()}, timeout=30)
            except (OSError, http.client.HTTPException):
                continue    # an api that is started again
            if answer.status == 202:
                self.ledger[answer.json["id"]] = state
            elif answer.status == 503:
                self.refused += 1
                assert answer.headers.get("retry-after"), answer
            else:
                self.strange.append(answer)


def load(api, sink, what, clients=3):
    """Do what() while clients post; what they hold in the end."""
    over = threading.Event()
    threads = [Client(api, sink, over) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        what()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not [answer for thread in threads for answer in thread.strange]
    return {k: v for t in threads for k, v in t.ledger.items()}, sum(t.refused for t in threads)


def test_redis_killed_and_started_again_loses_nothing(fleet, sink):
    api = fleet.part("api")
    fleet.worker(), fleet.worker()

    def kill_twice():
        for _ in range(2):
            time.sleep(0.7)    # so long the clients post; nothing is waited for
            fleet.redis.kill()
            time.sleep(0.3)
            fleet.redis.start()
            eventually(lambda: api.get("/readyz").status == 200, 10, "the api is ready again")
        time.sleep(0.5)

    ledger, _ = load(api, sink, kill_twice)
    assert len(ledger) > 20
    check_all(api, sink, ledger)
    states = counted(api)
    eventually(lambda: counted(api)["queued"] + counted(api)["started"] == 0, 10, "all has ended")
    assert sum(states.values()) >= len(ledger)


def test_a_second_worker_of_a_machine_needs_no_port(fleet, sink):
    api = fleet.part("api")
    assert api.get("/readyz").json["sandbox"] is None    # it reads no images
    workers = [fleet.new_part("worker", "--health-listen", "none") for _ in range(2)]
    for worker in workers:
        worker.start(ready=False)
        eventually(worker.says_ready, 10, "the worker is ready")
        assert not worker.listens()
    check_all(api, sink, {api.submit("good.jpg", **sink.all()): "success"})
    for worker in workers:
        worker.stop()


def test_a_redis_that_hangs_is_a_503_and_then_all_goes_on(fleet, sink):
    api = fleet.part("api")
    fleet.worker()
    before = api.submit("good.jpg", **sink.all())
    sink.ending(before)
    fleet.redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    answer = api.post({"assetPath": {"location": "local", "path": "good.jpg"}}, timeout=30)
    assert answer.status == 503 and answer.headers.get("retry-after"), answer
    assert time.monotonic() - began < patient(4)
    ready = eventually(lambda: api.get("/readyz").status == 503 and api.get("/readyz"), 10, "it says so")
    assert b"Redis" in ready.body, ready
    assert api.get("/healthz").status == 200
    fleet.redis.signal(signal.SIGCONT)
    eventually(lambda: api.get("/readyz").status == 200, 10, "it is ready again")
    check_all(api, sink, {api.submit("good.jpg", **sink.all()): "success"})


def test_a_rolling_restart_of_the_workers_loses_nothing(fleet, sink):
    api = fleet.part("api")
    fleet.worker(), fleet.worker()

    def roll():
        for worker in fleet.workers:
            time.sleep(0.3)
            worker.stop()
            worker.start()

    ledger, refused = load(api, sink, roll)
    assert refused == 0 and len(ledger) > 20
    check_all(api, sink, ledger)


def test_an_idle_worker_rests(fleet):
    fleet.part("api")
    worker = fleet.worker()

    def used():
        ticks = 0
        for pid in worker.processes():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    time.sleep(5)    # what is measured
    assert (used() - before) / (time.monotonic() - began) < 0.01


@pytest.mark.parametrize("what", ["api", "worker", "monitor"])
def test_a_file_cannot_be_shared(what):
    ended = run(what, "--store", "sqlite:x.db")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "owns" in line and "redis://" in line, line


@pytest.mark.parametrize("url", ["redis:", "redis://", "redis://host:99999/0", "redis://:secret@host:0",
                                 "redis://host/x", "redis://secret@host", "redis:host:6379"])
def test_a_redis_that_cannot_be_is_refused_without_showing_its_password(url):
    ended = run("worker", "--store", url)
    assert ended.returncode == 2
    assert "secret@" not in ended.stderr.replace("***@", ""), ended.stderr


def test_a_redis_that_is_away_at_the_start_is_told(tmp_path):
    ended = run("api", "--store", "redis://:secret@127.0.0.1:1/0", "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert "127.0.0.1:1" in line and "secret" not in line, line


def test_a_wrong_password_is_told(tmp_path_factory, tmp_path):
    server = redis.Redis(tmp_path_factory.mktemp("redis"), "--requirepass", "right").start()
    try:
        ended = run("api", "--store", f"redis://:wrong@127.0.0.1:{server.port}/0", "--listen", "127.0.0.1:0",
                    cwd=tmp_path)
        assert ended.returncode == 78 and "WRONGPASS" in ended.stderr and "wrong@" not in ended.stderr
    finally:
        server.kill()


def test_a_redis_without_memory_refuses_and_workers_go_on(fleet, sink):
    api = fleet.part("api")
    ids = submit_many(api, sink, 20)
    fleet.redis.ask("CONFIG", "SET", "maxmemory", "1")
    answer = api.post({"assetPath": {"location": "local", "path": "good.jpg"}})
    assert answer.status == 503 and answer.headers.get("retry-after"), answer
    eventually(lambda: b"OOM" in api.get("/readyz").body, 10, "it says why")
    fleet.redis.ask("CONFIG", "SET", "maxmemory", "0")
    fleet.worker()
    fleet.redis.ask("CONFIG", "SET", "maxmemory", "1")
    for asset_id, state in ids.items():
        assert sink.ending(asset_id, within=10).state == state
    fleet.redis.ask("CONFIG", "SET", "maxmemory", "0")
    eventually(lambda: api.get("/readyz").status == 200, 10, "it is ready again")
    check_all(api, sink, {**ids, api.submit("good.jpg", **sink.all()): "success"})
