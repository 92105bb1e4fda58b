"""Five workers share the work of one API, whatever is killed, cut off or started again."""
import time

import pytest

from harness.client import request
from harness.deadline import eventually, patient
from stack import LEASE_S, REDIS_IMAGE, check_all, docker, log_events, post, under_load

SETTINGS = {"ASSAY_LEASE": f"{LEASE_S}s", "ASSAY_WORKERS": "1",
            "ASSAY_WEBHOOK_SCHEDULE": "100ms,200ms,300ms,1s,1s,1s,2s,2s"}


@pytest.fixture(scope="module", autouse=True)
def five(stack):
    stack.up("--build", "--scale", "worker=5", within=300)
    assert len(stack.containers("worker")) == 5
    return stack


@pytest.fixture(autouse=True)
def all_are_back(stack, five):
    yield
    containers = stack.containers("worker") + [stack.container("redis"), stack.container("api")]
    docker("start", *containers)
    for container in containers:
        stack.wait_healthy(container)


def test_five_workers_share_2000_assets(stack, sink):
    began = time.monotonic()
    ledger = post(stack, sink, 2000)
    check_all(stack, sink, ledger)
    shares = [log_events(stack.log(worker), "asset_ended") for worker in stack.containers("worker")]
    print(f"2000 in {time.monotonic() - began:.1f} s, shared as {shares}")
    assert sum(shares) == 2000 and min(shares) > 50, shares


def test_the_assets_of_a_killed_worker_are_finished_by_the_others(stack, sink):
    doomed = stack.containers("worker")[0]
    before = stack.counted()
    died = []

    def started():
        return {asset["id"] for asset in stack.get("/assets?state=started&limit=1000").json["assets"]}

    def kill():
        for _ in range(50):    # frozen now and then, until it surely has some in its hands
            time.sleep(0.2)
            docker("pause", doomed)
            at_first = started()
            time.sleep(0.3)
            if at_first & started():
                break
            docker("unpause", doomed)
        docker("kill", doomed)
        died.append(time.monotonic())

    ledger = under_load(stack, sink, kill)
    stored = check_all(stack, sink, ledger)
    rescued = [i for i in ledger if stored[i]["attempts"] > 1]
    took = max(sink.ending(i).at for i in ledger) - died[0]
    print(f"{len(rescued)} rescued, all ended {took:.1f} s after the death; a lease is {LEASE_S} s")
    assert rescued and took < LEASE_S + 2
    assert sum(stack.counted().values()) - sum(before.values()) == len(ledger)


def test_a_killed_redis_that_is_started_again_loses_nothing(stack, sink):
    redis = stack.container("redis")

    def kill_twice():
        time.sleep(1)    # so long the clients post; nothing is waited for
        docker("kill", redis)
        docker("start", redis)
        stack.wait_ready(30)
        time.sleep(1)
        # not by the engine's own command, after which no restart policy holds
        docker("exec", redis, "sh", "-c", "kill -9 $(cat /proc/[0-9]*/stat | grep -- '-server)' | cut -d ' ' -f 1)",
               check=False)
        eventually(lambda: stack.state(redis, ".RestartCount") == "1", 20, "the policy starts it again")
        stack.wait_ready(30)
        time.sleep(1)

    ledger = under_load(stack, sink, kill_twice)
    assert len(ledger) > 50
    check_all(stack, sink, ledger)


def test_a_worker_whose_network_was_cut_works_again(stack, sink):
    cut = stack.containers("worker")[1]
    network = f"{stack.name}_store"
    ended = log_events(stack.log(cut), "asset_ended")

    def cut_and_restore():
        time.sleep(1)
        docker("network", "disconnect", network, cut)
        eventually(lambda: stack.state(cut) == "unhealthy", 30, "its health check notices")
        docker("network", "connect", network, cut)
        stack.wait_healthy(cut)
        at_least = log_events(stack.log(cut), "asset_ended")
        eventually(lambda: log_events(stack.log(cut), "asset_ended") > at_least, 10, "it works again")

    ledger = under_load(stack, sink, cut_and_restore)
    check_all(stack, sink, ledger)
    assert log_events(stack.log(cut), "asset_ended") > ended


def test_a_rolling_restart_of_everything_loses_nothing(stack, sink):
    def roll():
        for container in (*stack.containers("worker"), stack.container("api"), stack.container("monitor")):
            docker("restart", "-t", "30", container)
            assert stack.state(container, ".State.ExitCode") == "0"
            stack.wait_healthy(container)

    ledger = under_load(stack, sink, roll)
    assert len(ledger) > 100
    check_all(stack, sink, ledger)
    drained = [log_events(stack.log(worker), "stopped") for worker in stack.containers("worker")]
    assert all(drained), drained


def test_a_stopped_worker_says_so_with_exit_code_0(stack):
    worker = stack.containers("worker")[2]
    began = time.monotonic()
    docker("stop", "-t", "30", worker)
    assert stack.state(worker, ".State.ExitCode") == "0"
    assert time.monotonic() - began < patient(5)


def test_down_keeps_the_data_and_a_torn_end_of_the_log_is_mended(stack, sink):
    ledger = post(stack, sink, 50)
    check_all(stack, sink, ledger)
    before = stack.counted()
    stack.down(volumes=False)
    volume = f"{stack.name}_redis-data"
    tear = "head -c 4096 /dev/zero >>$(ls -t /data/appendonlydir/*.incr.aof | head -n 1)"
    docker("run", "--rm", "--user", "999:999", "-v", f"{volume}:/data", "--entrypoint", "sh",
           REDIS_IMAGE, "-c", tear)
    stack.up("--scale", "worker=5", "--no-recreate")
    assert stack.counted() == before
    redis = stack.container("redis")
    assert "4096 bytes" in stack.log(redis)
    assert docker("exec", redis, "sh", "-c", "ls -d /data/aof-before-repair-*/*.incr.aof")
    check_all(stack, sink, {**ledger, **post(stack, sink, 10)})


def test_nothing_runs_with_more_rights_than_it_needs(stack):
    for service in ("api", "worker", "monitor", "redis"):
        container = stack.containers(service)[0]
        assert stack.state(container, ".Config.User") == ("999:999" if service == "redis" else "65534:65534")
        assert stack.state(container, ".HostConfig.ReadonlyRootfs") == "true"
        assert stack.state(container, ".HostConfig.CapDrop") == "[ALL]"
        assert "no-new-privileges" in stack.state(container, ".HostConfig.SecurityOpt")
        assert stack.state(container, ".HostConfig.Memory") != "0"
        assert stack.state(container, ".HostConfig.RestartPolicy.Name") == "unless-stopped"
        assert "0" * 16 in docker("exec", container, "grep", "CapEff", "/proc/self/status")
        published = stack.state(container, "json .NetworkSettings.Ports")
        assert "0.0.0.0" not in published and "::" not in published, published
        assert ("127.0.0.1" in published) == (service in ("api", "monitor")), published
    worker = stack.containers("worker")[0]
    assert "Read-only" in docker("exec", worker, "sh", "-c", "touch /assets/images/x 2>&1", check=False)
    assert b"<html" in request(stack.monitor_port, "GET", "/").body.lower()
