"""docker/redis.sh in each image of Redis or Valkey that is here: what it repairs, what it leaves alone."""
import os
import subprocess
import time

import pytest

from harness.assay import PROJECT
from harness.deadline import eventually
from stack import REDIS_IMAGE, answers, docker

IMAGES = [REDIS_IMAGE] + [i for i in ("valkey/valkey:8",) if answers("docker", "image", "inspect", i)]


class Redis:
    def __init__(self, image):
        self.image = image
        self.name = f"assay-test-{os.getpid()}-{time.monotonic_ns()}"
        docker("volume", "create", self.name)

    def start(self):
        docker("run", "-d", "--name", self.name, "--init", "--user", "999:999", "--read-only", "--cap-drop", "ALL",
               "--network", "none", "-v", f"{self.name}:/data", "-v", f"{PROJECT}/docker:/docker:ro",
               "--entrypoint", "/bin/sh", self.image, "/docker/redis.sh")
        return self

    def healthy(self):
        return answers("docker", "exec", self.name, "/bin/sh", "/docker/redis.sh", "health")

    def wait_healthy(self):
        eventually(self.healthy, 10, "Redis is healthy")

    def ask(self, *words):
        return docker("exec", self.name, "sh", "-c", '"$(command -v redis-cli || command -v valkey-cli)" "$@"', "ask",
                      *words)

    def exit_code(self):
        return docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", self.name)

    def log(self):
        return docker("logs", self.name)

    def remove(self):
        docker("rm", "-f", self.name)

    def on_data(self, script):
        return docker("run", "--rm", "--user", "999:999", "-v", f"{self.name}:/data", "--entrypoint", "sh", self.image,
                      "-ec", f"log=$(ls -t /data/appendonlydir/*.incr.aof | head -n 1); {script}")


@pytest.fixture(params=IMAGES)
def redis(request):
    redis = Redis(request.param).start()
    redis.wait_healthy()
    yield redis
    redis.remove()
    docker("volume", "rm", redis.name)


def filled_and_gone(redis, n=100):
    for part in range(n // 50):
        redis.ask("EVAL", f"for i = 1, 50 do redis.call('XADD', 'log', '*', 'n', i + {part * 50}) end", "0")
    assert redis.ask("XLEN", "log") == str(n)
    docker("kill", redis.name)
    redis.remove()


def test_it_keeps_every_write_and_evicts_nothing(redis):
    assert redis.ask("CONFIG", "GET", "appendfsync").split() == ["appendfsync", "always"]
    assert redis.ask("CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
    assert redis.ask("CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]
    assert redis.ask("CONFIG", "GET", "maxmemory").split() == ["maxmemory", "1073741824"]
    docker("stop", "-t", "20", redis.name)
    assert redis.exit_code() == "exited 0"


HALF_A_COMMAND = "printf '*3\\r\\n$4\\r\\nXA' >>$log; "


def test_an_end_that_is_only_short_is_redis_s_own_affair(redis):
    filled_and_gone(redis)
    redis.on_data(HALF_A_COMMAND)
    redis.start().wait_healthy()
    assert redis.ask("XLEN", "log") == "100"


@pytest.mark.parametrize("tear", ["", HALF_A_COMMAND])
def test_a_torn_end_is_cut_off_after_a_copy(redis, tear):
    filled_and_gone(redis)
    redis.on_data(tear + "head -c 1000 /dev/zero >>$log")
    redis.start().wait_healthy()
    assert redis.ask("XLEN", "log") == "100"
    assert redis.on_data("for f in /data/aof-before-repair-*/*.incr.aof; do tail -c 4 $f | od -An -tx1; done").split() \
        == ["00"] * 4


def test_more_than_an_end_is_left_for_a_person(redis):
    filled_and_gone(redis)
    before = redis.on_data("head -c 5000000 /dev/zero >>$log; cksum <$log")
    redis.start()
    eventually(lambda: redis.exit_code() == "exited 1", 20, "it refuses")
    assert "the last 5000000 bytes" in redis.log() and "REDIS_REPAIR_BYTES=5000000" in redis.log()
    assert redis.on_data("cksum <$log") == before
    assert "aof-before-repair" not in redis.on_data("ls /data")


def test_damage_that_is_not_in_the_log_s_last_file_is_left_for_a_person(redis):
    redis.ask("SET", "a", "b")
    redis.ask("BGREWRITEAOF")
    eventually(lambda: "aof_rewrite_in_progress:0" in redis.ask("INFO", "persistence") and
               "ok" in redis.ask("INFO", "persistence").split("aof_last_bgrewrite_status:")[1][:3], 10, "it is rewritten")
    filled_and_gone(redis)
    before = redis.on_data("base=$(ls /data/appendonlydir/*.base.rdb); "
                           "printf 'xxxxxxxx' | dd of=$base bs=1 seek=12 conv=notrunc 2>/dev/null; cksum <$base")
    redis.start()
    eventually(lambda: redis.exit_code() == "exited 1", 20, "it refuses")
    assert redis.on_data("cat /data/appendonlydir/*.base.rdb | cksum") == before
    assert "aof-before-repair" not in redis.on_data("ls /data")


@pytest.mark.parametrize("file", ["/docker/no-such-file", "/dev/null"])
def test_a_password_that_is_not_there_is_no_start_without_one(file):
    done = subprocess.run(["docker", "run", "--rm", "--user", "999:999", "--network", "none",
                           "-v", f"{PROJECT}/docker:/docker:ro", "-e", f"REDIS_PASSWORD_FILE={file}", "--entrypoint", "/bin/sh",
                           REDIS_IMAGE, "/docker/redis.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"redis.sh: there is no password in {file}" in done.stderr, done
