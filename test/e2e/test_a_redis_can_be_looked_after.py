"""What assay tells of a Redis to those who look after it."""
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socketserver
import subprocess
import threading

import pytest

from harness import assay as program
from harness import redis
from harness.assay import run
from harness.deadline import eventually
from harness.redis import LEASE_S

pytestmark = pytest.mark.skipif(redis.PROGRAM is None, reason="there is no redis-server here")


def warnings(part):
    """{name: why} of a part that is ready all the same."""
    ready = part.get("/readyz")
    assert ready.status == 200 and ready.json["status"] == "ready" and ready.json["store"]["healthy"], ready
    return {w["name"]: w["why"] for w in ready.json["store"]["warnings"]}


def described_names():
    with open(f"{program.PROJECT}/src/api/openapi.json", encoding="utf-8") as f:
        readiness = json.load(f)["components"]["schemas"]["Readiness"]["properties"]
    return readiness["store"]["properties"]["warnings"]["items"]["properties"]["name"]["enum"]


def counted(part):
    """{name: 0 or 1} of all warnings there are, in /metrics."""
    found = re.findall(r'^assay_store_warnings\{name="(\w+)"\} (\d+)$', part.get("/metrics").body.decode(), re.MULTILINE)
    return {name: int(n) for name, n in found}


@pytest.mark.parametrize("setting,value,name", [("appendonly", "no", "not_durable"),
                                                ("appendfsync", "everysec", "not_durable"),
                                                ("maxmemory-policy", "allkeys-lru", "may_evict")])
def test_a_redis_that_may_lose_assets_is_told_from_the_start(fleet, setting, value, name):
    fleet.redis.ask("CONFIG", "SET", setting, value)
    api = fleet.part("api")
    [(told, why)] = warnings(api).items()
    assert told == name and f"{setting} {value}" in why
    assert f"event=store_warning name={name}" in api.log()
    assert [name for name, n in counted(api).items() if n] == [told]


def test_what_changes_while_it_runs_is_told_too_and_when_it_is_over(fleet):
    worker = fleet.worker()
    assert not warnings(worker)
    assert counted(worker) == dict.fromkeys(described_names(), 0)
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "no")
    eventually(lambda: "appendfsync no" in warnings(worker).get("not_durable", ""), 10, "it says so")
    assert counted(worker)["not_durable"] == 1
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "always")
    eventually(lambda: not warnings(worker), 10, "it is over")
    assert counted(worker)["not_durable"] == 0
    assert worker.log().count("event=store_warning ") == worker.log().count("event=store_warnings_over") == 1


def test_a_redis_that_tells_no_settings_is_believed_nothing(fleet):
    fleet.redis.ask("ACL", "SETUSER", "default", "-config")
    api = fleet.part("api")
    assert list(warnings(api)) == ["settings_unknown"] and counted(api)["settings_unknown"] == 1


def test_a_redis_that_cannot_write_its_log_is_not_ready(fleet):
    fleet.redis.ask("CONFIG", "SET", "appendfsync", "everysec")    # with always it ends at once
    worker = fleet.worker()
    fleet.redis.let_files_grow(0)
    told = eventually(lambda: worker.get("/readyz").status == 503 and worker.get("/readyz"), 10, "it says so")
    assert told.json["status"] == "unavailable" and "MISCONF" in told.json["store"]["why"], told
    fleet.redis.let_files_grow()
    eventually(lambda: worker.get("/readyz").status == 200, 10, "it is ready again")


def test_a_redis_that_is_away_is_told_although_nobody_asks_it(fleet):
    api = fleet.part("api")
    fleet.redis.kill()
    told = eventually(lambda: api.get("/readyz").status == 503 and api.get("/readyz"), 20, "it says so")
    assert "connect" in told.json["store"]["why"] or "Redis" in told.json["store"]["why"], told
    fleet.redis.start()
    eventually(lambda: api.get("/readyz").status == 200, 10, "it is ready again")


# --- verify-store, backup

def verify(fleet):
    return run("verify-store", "--store", fleet.redis.url)


def test_a_redis_in_use_is_verified(fleet, sink):
    api = fleet.part("api")
    fleet.worker(), fleet.worker()
    ids = [api.submit(path, **sink.all()) for path in ("small.jpg", "text.jpg") * 150]
    for _ in range(5):    # meanwhile
        done = verify(fleet)
        assert done.returncode == 0 and done.stdout.endswith("\nsound\n"), done
    for asset_id in ids:
        sink.ending(asset_id)
        api.settled(asset_id)
    done = eventually(lambda: "ok  each event is counted" in verify(fleet).stdout and verify(fleet), 10, "it rests")
    assert done.returncode == 0 and "NOT" not in done.stdout and "\n?" not in done.stdout, done
    fleet.redis.ask("HINCRBY", "{assay:0}:count", "pruned", "1")
    done = verify(fleet)
    assert done.returncode == 1 and "NOT accepted = " in done.stdout and done.stdout.endswith("\nNOT SOUND\n"), done


def test_a_redis_that_cannot_be_verified_is_told(fleet):
    done = verify(fleet)
    assert done.returncode == 1 and "no store of assay" in done.stderr, done
    fleet.redis.kill()
    done = verify(fleet)
    assert done.returncode == 1 and "connect" in done.stderr, done


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="there is no redis-cli here")
def test_backup_says_how_a_redis_is_backed_up_and_it_is_so(fleet, servers, sink, tmp_path):
    api, worker = fleet.part("api"), fleet.worker()
    ids = [api.submit("small.jpg", **sink.all()) for _ in range(5)]
    for asset_id in ids:
        sink.ending(asset_id)
        api.settled(asset_id)
    copy = tmp_path / "dump.rdb"
    told = run("backup", str(copy), "--store", fleet.redis.url)
    assert told.returncode == 2 and len(told.stderr.splitlines()) == 1, told
    command = shlex.split(re.search(r"redis-cli .*? --rdb \S+", told.stderr)[0])
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    later = api.submit("small.jpg")
    for part in (api, worker):
        part.stop()
    fleet.redis.kill()

    # as docs/STORE.md has it
    restoring = redis.Redis(tmp_path, "--appendonly", "no").start()
    restoring.ask("CONFIG", "SET", "appendonly", "yes")
    eventually(lambda: "aof_rewrite_in_progress:0" in restoring.ask("INFO", "persistence")
               and "aof_enabled:1" in restoring.ask("INFO", "persistence")
               and "aof_rewrite_scheduled:0" in restoring.ask("INFO", "persistence"), 10, "the log is written")
    assert "aof_last_bgrewrite_status:ok" in restoring.ask("INFO", "persistence")
    restoring.kill()
    fleet.redis = redis.Redis(tmp_path).start()
    assert verify(fleet).returncode == 0
    api = fleet.part("api")
    assert [asset["id"] for asset in api.all_assets()] == ids[::-1]
    assert api.get(f"/assets/{later}").status == 404
    fleet.worker()
    again = api.submit("small.jpg", **sink.all())
    assert again not in ids and sink.ending(again).state == "success"


# --- its password

@pytest.fixture
def locked(servers, tmp_path_factory):
    """A fleet whose Redis asks for a password, and for another one of a user called assay."""
    fleet = redis.Fleet(servers, tmp_path_factory, "--requirepass", "right%20one",
                        "--user", "assay", "on", ">other", "~*", "&*", "+@all")
    yield fleet
    fleet.redis.kill()


@pytest.mark.parametrize("how", ["variable", "file"])
def test_the_password_of_a_redis_is_no_argument(locked, sink, tmp_path, how):
    (tmp_path / "password").write_text("right%20one\n")
    env = {"ASSAY_STORE_PASSWORD": "right%20one"} if how == "variable" else {
        "ASSAY_STORE_PASSWORD": "", "ASSAY_STORE_PASSWORD_FILE": str(tmp_path / "password")}
    api, worker = locked.part("api", env=env), locked.part("worker", env=env)
    asset = api.submit("good.jpg", **sink.all())
    assert sink.ending(asset).state == "success"
    assert run("verify-store", "--store", locked.redis.url, env=env).returncode == 0
    for part in (api, worker):
        assert "right" not in part.log()
        with open(f"/proc/{part.process.pid}/environ", "rb") as f:
            assert b"right" not in f.read()


def test_a_user_of_a_redis_may_have_its_password_in_a_file(locked, tmp_path):
    (tmp_path / "password").write_text("other")
    store = locked.redis.url.replace("redis://", "redis://assay:@")
    done = run("verify-store", "--store", store, env={"ASSAY_STORE_PASSWORD_FILE": str(tmp_path / "password")})
    assert done.returncode == 1 and "no store of assay" in done.stderr, done
    done = run("verify-store", "--store", store, env={"ASSAY_STORE_PASSWORD": "wrong"})
    assert done.returncode == 1 and "WRONGPASS" in done.stderr, done


@pytest.mark.parametrize("store,variables", [
    ("redis://:one@127.0.0.1:1", {"ASSAY_STORE_PASSWORD": "hush"}), ("sqlite:x.db", {"ASSAY_STORE_PASSWORD": "hush"}),
    ("redis://127.0.0.1:1", {"ASSAY_STORE_PASSWORD": "hush", "ASSAY_STORE_PASSWORD_FILE": "/x"}),
    ("redis://127.0.0.1:1", {"ASSAY_STORE_PASSWORD": "\n"}),
    ("redis://127.0.0.1:1", {"ASSAY_STORE_PASSWORD_FILE": "/no/such/file"})])
@pytest.mark.parametrize("command", ["server", "check-config", "verify-store"])
def test_a_password_that_cannot_be_is_refused(tmp_path, command, store, variables):
    done = run(command, "--store", store, env=variables, cwd=tmp_path)
    assert done.returncode == 2 and "ASSAY_STORE_PASSWORD" in done.stderr and "hush" not in done.stderr, done
    assert len(done.stderr.splitlines()) == 1


# --- assets that take workers along

def edit(fleet, number, **fields):
    """Change fields of an asset's record, as redis.lua has them."""
    names = ("state", "run", "attempts", "urls", "accepted", "started", "ended", "since", "deaths", "codes", "holder")
    record = dict(zip(names, fleet.redis.ask("HGET", f"{{assay:0}}:a:{number}", "s").split()))
    record.update({name: str(value) for name, value in fields.items()})
    fleet.redis.ask("HSET", f"{{assay:0}}:a:{number}", "s", " ".join(record.values()))
    return record


def test_an_asset_over_which_three_workers_died_ends_before_it_takes_another_along(fleet, sink):
    api, doomed = fleet.part("api"), fleet.worker()
    for pid in eventually(doomed.validators, 5, "there are validators"):
        os.kill(pid, signal.SIGSTOP)
    poison = api.submit("good.jpg", **sink.all())
    eventually(lambda: api.asset(poison)["state"] == "started", 5, "a worker has it")
    edit(fleet, 1, deaths=2)
    doomed.kill()
    heir = fleet.worker()
    ending = sink.ending(poison, within=LEASE_S + 10)
    assert ending.state == "failed" and ending.json["errors"] == {"asset": ["is corrupt"]}
    assert f"event=asset_poisonous asset={poison}" in heir.log()
    assert api.settled(poison)["errors"] == {"asset": ["is corrupt"]}
    assert verify(fleet).returncode == 0


def test_an_asset_that_cannot_be_read_in_ten_attempts_is_not_reachable(fleet, sink):
    api, worker = fleet.part("api"), fleet.worker()
    soft, hard = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (3, hard))    # no file can be opened
    unread = api.submit("good.jpg", **sink.all())
    eventually(lambda: "event=asset_fault" in worker.log(), 5, "the first attempt failed")
    eventually(lambda: fleet.redis.ask("ZCARD", "{assay:0}:later") == "1", 5, "it waits for the second")
    assert api.asset(unread)["state"] == "started"
    edit(fleet, 1, attempts=9)
    ended = api.ended(unread, within=30)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert ended["state"] == "failed" and ended["attempts"] == 10
    assert sink.ending(unread).json["errors"] == {"asset": ["is not reachable"]}
    api.settled(unread)
    assert verify(fleet).returncode == 0


# --- what is no Redis of ours

class OldRedis(socketserver.ThreadingTCPServer):
    """Says that it is Redis 6.2, and knows no functions."""
    daemon_threads = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):    # pylint: disable=invalid-name
        def handle(self):
            while head := self.rfile.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2])
                info = b"# Server\r\nredis_version:6.2.16\r\nredis_mode:standalone\r\n"
                self.wfile.write({b"SELECT": b"+OK\r\n", b"INFO": b"$%d\r\n%s\r\n" % (len(info), info)}
                                 .get(words[0], b"-ERR unknown command\r\n"))

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.mark.parametrize("command,code", [(("api", "--listen", "127.0.0.1:0"), 78), (("verify-store",), 1)])
def test_a_redis_older_than_7_is_refused(tmp_path, command, code):
    with OldRedis() as old:
        ended = run(*command, "--store", f"redis://127.0.0.1:{old.server_address[1]}/0", cwd=tmp_path)
        old.shutdown()
    [line] = ended.stderr.splitlines()
    assert ended.returncode == code and "Redis 6.2.16 is too old: 7.0 is the least" in line, ended
