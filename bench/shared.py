"""The parts apart, on one Redis that syncs every write: what `assay server` does in one process, over
`assay api`, `assay worker` and a store that they share. Redis, its callers and the loads have the same
processors here; on machines of their own each has more."""
import os
import re
import statistics
import time

import accept
import lives
from footprint import pad_jpeg, pictures
from tools import (BUILD, PROJECT, Assay, Program, Skip, answer_of, asset_body, free_port, get, need, need_built,
                   nginx, post_many, post_request, scratch, wait_for)

KEYS = "{assay:0}:"
CEILING, EMBEDDED, OVER_REDIS = "nginx, one worker (the ceiling)", "assay server, SQLite", "assay api, Redis"
SLOW_BYTES = 4 << 20
WINDOW_S, WORKER_ROUNDS = 3, int(os.environ.get("BENCH_ROUNDS", "5"))
IDLE_S = 10
LEASE_S, RESCUES, HELD_OF = 5, 3, 100
KEPT = int(os.environ.get("BENCH_LIVES", "10000"))


class Redis(Program):
    """A Redis of our own, empty, as the compose file has it: on the disk before it answers."""
    def __init__(self, name):
        self.port = free_port()
        folder = scratch(name)
        super().__init__(folder, need("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--dir", folder,
                         "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                         "--maxmemory-policy", "noeviction")
        self.url = f"redis://127.0.0.1:{self.port}/0"
        wait_for(lambda: self.ask("PING").startswith("+PONG"), 10, "Redis answers")

    def ask(self, words):
        """What is answered to one command without blanks in its arguments, as it comes."""
        return answer_of(self.port, f"{words}\r\nQUIT\r\n".encode()).decode()

    def number(self, words):
        found = re.search(r"^(?::|\$\d+\r\n)(\d+)\r", self.ask(words))
        return int(found.group(1)) if found else 0

    def info(self, section, field):
        return int(re.search(rf"\b{field}:(\d+)", self.ask(f"INFO {section}")).group(1))

    def in_state(self, state):
        """How many are queued (0), started (1), success (2), failed (3)."""
        listed = self.number(f"ZCARD {KEYS}in:{state}")
        return listed if state else listed + self.counted("accepted") - self.counted("taken")

    def counted(self, name):
        return self.number(f"HGET {KEYS}count {name}")

    def wait_ended(self, n, within_s):
        wait_for(lambda: self.in_state(2) + self.in_state(3) >= n, within_s, f"{n} assets have ended", 0.02)
        if self.in_state(3):
            raise Skip(f"{self.in_state(3)} good assets failed")


class Part(Program):
    """`assay NAME` over the Redis, ready. Its .port answers /readyz: the API's, or a worker's own."""
    def __init__(self, name, redis, *flags):
        self.port = free_port()
        listen = "--health-listen" if name == "worker" else "--listen"
        super().__init__(scratch(f"{name}-{self.port}"), need_built(os.path.join(BUILD, "assay")), name,
                         listen, f"127.0.0.1:{self.port}", "--store", redis.url, *flags)
        wait_for(lambda: get(self.port, "/readyz").startswith(b"HTTP/1.1 200"), 20, f"assay {name} is ready")

    def cpu_ns(self):
        """As cpu_s(), but exact: what the scheduler has counted, of processes that live."""
        total = 0
        for pid in self.tree():
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                    total += int(f.read().split()[0])
        return total


def accept_over_redis(table):
    need("wrk")
    redis = Redis("accept-redis")
    api = Part("api", redis, "--max-queued", "100000000")
    request = post_request(api.port, asset_body("x"))
    programs = {CEILING: accept.padded_nginx("nginx1", 1, len(answer_of(api.port, request))),
                EMBEDDED: Assay(scratch("embedded"), "--workers", "0", "--max-queued", "100000000").wait_ready(),
                OVER_REDIS: api}
    used_s, before = redis.cpu_s(), redis.counted("accepted")
    found = accept.rounds(programs, 64)
    stored = redis.counted("accepted") - before
    used_s = redis.cpu_s() - used_s
    told = sum(run["requests"] for run in found[OVER_REDIS])

    table.section(f"accept over Redis, 64 connections: {accept.ROUNDS} rounds of {accept.SECONDS} s each, interleaved")
    for name, runs in found.items():
        table.figures(f"{name}, answers/s", [run["rate"] for run in runs])
    table.figures("over Redis / ceiling", accept.ratios(found, OVER_REDIS, CEILING), "{:.2f}", least=0.35)
    table.figures("SQLite / ceiling", accept.ratios(found, EMBEDDED, CEILING), "{:.2f}")
    for name, runs in found.items():
        table.figures(f"p99 of {name}, ms", [run["p99"] / 1000 for run in runs], "{:.1f}")
        table.figures(f"processor time of {name}, µs/answer", [run["cpu_us"] for run in runs], "{:.1f}")
    table.figures("and of its Redis, µs/answer", [used_s * 1e6 / max(1, stored)], "{:.1f}")
    table.figures("answers other than 202, and lost connections",
                  [sum(run["refused"] + run["lost"] for run in found[OVER_REDIS])], most=0)
    table.row("202s counted, assets stored", f"{told:,}, {stored:,}", "pass" if stored >= told else "MISS")
    table.missed += stored < told


def slow_pictures():
    """A root with one good picture that takes a worker 2 ms or more."""
    root = scratch("slow-root")
    with open(os.path.join(PROJECT, "images", "good-1000x1000.jpg"), "rb") as f, \
            open(os.path.join(root, "slow.jpg"), "wb") as out:
        out.write(pad_jpeg(f.read(), SLOW_BYTES))
    return root


def fill(redis, body, n):
    """n assets in the queue, and no api any more that would want a processor."""
    api = Part("api", redis, "--max-queued", "100000000")
    post_many(api.port, [body] * n)
    api.stop()


def endings(redis, root, workers):
    """Assets a second that so many one-thread workers end, and a worker's processor time for each, ms."""
    parts = [Part("worker", redis, "--workers", "1", "--root", root) for _ in range(workers)]
    before = redis.in_state(2)
    wait_for(lambda: redis.in_state(2) > before + 50, 20, "workers work", 0.01)    # warm
    used_ns, before, begun = sum(part.cpu_ns() for part in parts), redis.in_state(2), time.monotonic()
    time.sleep(WINDOW_S)
    ended, took_s = redis.in_state(2) - before, time.monotonic() - begun
    used_ns = sum(part.cpu_ns() for part in parts) - used_ns
    if redis.in_state(3) or not redis.in_state(0):
        raise Skip("an asset failed, or the queue was too short")
    for part in parts:
        part.stop()
    return ended / took_s, used_ns / 1e6 / max(1, ended)


def two_workers(table):
    redis, root = Redis("workers"), slow_pictures()
    fill(redis, asset_body("slow.jpg"), 2 * WORKER_ROUNDS * WINDOW_S * 1500)
    found = {1: [], 2: []}
    for i in range(WORKER_ROUNDS):
        for workers in (1, 2) if i % 2 else (2, 1):
            found[workers].append(endings(redis, root, workers))
    table.section(f"workers of one thread each, from a full queue: {WORKER_ROUNDS} rounds of {WINDOW_S} s each, interleaved")
    table.figures("processor time for one file, ms", [ms for _, ms in found[1]], "{:.1f}", least=2)
    for workers, runs in found.items():
        table.figures(f"{workers} of them, assets/s", [rate for rate, _ in runs])
    table.figures("two / one", [b[0] / a[0] for a, b in zip(found[1], found[2])], "{:.2f}", least=1.6)


def told_late(table):
    redis, folder = Redis("calm-redis"), scratch("calm")
    root = pictures(folder)
    server = Assay(folder, root=root).wait_ready()
    api = Part("api", redis)
    Part("worker", redis, "--root", root)
    table.section(f"one asset at a time, {lives.CALM_RATE} a second, in turns")
    found = {}
    for name, (took, told) in zip((EMBEDDED, OVER_REDIS), lives.one_at_a_time([server.port, api.port])):
        found[name] = statistics.median(told)
        table.row(f"{name}: request to 202, ms: p50, p99", lives.middle_and_end(took))
        table.row(f"{name}: to its ending's webhook, ms: p50, p99", lives.middle_and_end(told))
    table.figures("p50 to the ending's webhook, Redis / SQLite", [found[OVER_REDIS] / found[EMBEDDED]], "{:.2f}", most=1.5)


def idle(table):
    redis = Redis("idle")
    worker = Part("worker", redis, "--root", pictures(scratch("idle-root")))
    time.sleep(2)    # what it does once
    redis_s, used_ns, begun = redis.cpu_s(), worker.cpu_ns(), time.monotonic()
    time.sleep(IDLE_S)
    took_s = time.monotonic() - begun
    table.section(f"a worker without work, for {IDLE_S} s")
    table.figures("of one processor, %", [(worker.cpu_ns() - used_ns) / 1e7 / took_s], "{:.2f}", most=1)
    table.figures("and of its Redis, %", [(redis.cpu_s() - redis_s) * 100 / took_s], "{:.2f}")


def rescue_s(redis, root):
    """From the death of a worker that holds assets until the last of them has ended, and how many it held."""
    flags = "--workers", "1", "--root", root, "--lease", f"{LEASE_S}s"
    ended = redis.in_state(2)
    fill(redis, asset_body("slow.jpg"), HELD_OF)
    doomed = Part("worker", redis, *flags)
    wait_for(lambda: redis.in_state(2) > ended, 20, "a worker works")
    doomed.kill()
    begun, rescued = time.monotonic(), redis.counted("rescued")
    other = Part("worker", redis, *flags)
    redis.wait_ended(ended + HELD_OF, 60)
    took_s = time.monotonic() - begun
    other.stop()
    return took_s, redis.counted("rescued") - rescued


def rescue(table):
    redis, root = Redis("rescue"), slow_pictures()
    found = [rescue_s(redis, root) for _ in range(RESCUES)]
    table.section(f"a worker is killed that holds assets under a lease of {LEASE_S} s, {RESCUES} times; another one works")
    table.figures("assets that it held", [held for _, held in found], least=1)
    table.figures("until the last of them has ended, s", [took_s for took_s, _ in found], "{:.1f}", most=LEASE_S + 2)


def sizes(table):
    """What an asset takes in Redis, and what it costs on its way."""
    redis, folder = Redis("sizes"), scratch("sizes-root")
    sink = nginx(scratch("sizes-sink"), 1, "location / { return 204; }")
    bodies = [asset_body("small.jpg", f"http://127.0.0.1:{sink.port}")] * KEPT
    api = Part("api", redis)
    cpu = {api: api.cpu_s(), redis: redis.cpu_s()}
    empty, log = redis.info("memory", "used_memory"), redis.info("persistence", "aof_current_size")
    post_many(api.port, bodies)
    queued = redis.info("memory", "used_memory")
    worker = Part("worker", redis, "--root", pictures(folder))
    cpu[worker] = 0
    redis.wait_ended(KEPT, 120)
    wait_for(lambda: redis.counted("ev2") >= 2 * KEPT, 120, "every webhook was answered", 0.02)
    used = {program: program.cpu_s() - before for program, before in cpu.items()}
    kept = redis.info("memory", "used_memory")
    table.section(f"{KEPT:,} assets of 38 KB with three URLs, started's and success's webhooks answered by nginx")
    table.row("Redis's memory, bytes an asset: queued, kept", f"{(queued - empty) / KEPT:9.0f}, {(kept - empty) / KEPT:.0f}")
    table.row("its log, bytes an asset", f"{(redis.info('persistence', 'aof_current_size') - log) / KEPT:9.0f}")
    table.row("processor time of api, worker, Redis, µs an asset",
              f"{used[api] * 1e6 / KEPT:9.0f}, {used[worker] * 1e6 / KEPT:.0f}, {used[redis] * 1e6 / KEPT:.0f}")
