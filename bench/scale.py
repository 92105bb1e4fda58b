"""Scale: what a thousand who follow cost the assets, what a full store costs its clients, and what ten
thousand connections hold that say nothing.

What followers cost is the processor time of an asset with them and without, at the same pace, in rounds
whose order changes. Streams are measured over whole lives, each with its two webhooks; those who wait, over
assets that are only accepted (so that what they wait for does not end), which is the smaller whole for them to
add to."""
import os
import re
import resource
import select
import socket
import threading
import time

from footprint import pictures
from monitor_pages import compare_pages, fill
from tools import Assay, Skip, answer_of, asset_body, nginx, post_batch, post_request, scratch, wait_for, wrk

FOLLOWERS = 1000
HIGH, LOW = (1000, 12, 6), (50, 20, 3)    # assets a second, seconds, rounds (the same assets differ by 10 % in shorter ones)
TICK_S, ROUNDS, TOLD_S = 0.02, 5, 1.2    # streams are told once a second
FEW, MANY = 1000, int(os.environ.get("BENCH_ASSETS", "3000000"))
IDLE = 10_000
GZIP = "Accept-Encoding: gzip"    # as browsers say by themselves
PLAIN = "Accept-Encoding: identity"
ENDINGS = "/events?state=success&state=failed"
STREAMS = (("streams", "/events", GZIP, HIGH),
           ("streams of endings, not compressed", ENDINGS, PLAIN, HIGH), ("streams, not compressed", "/events", PLAIN, HIGH),
           ("streams, at a low load", "/events", GZIP, LOW),
           ("streams, not compressed, at a low load", "/events", PLAIN, LOW))
MOST = 10    # % that followers may add at the high load. At the low one they cost a thousand sends a second, whatever is told


def request(path, *fields):
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *fields, "", "")).encode()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


class Crowd:
    """Connections that have each asked for something; a thread throws away what comes, as cheaply as it can."""
    def __init__(self, server, requests):
        self.came, self.ended, self.over = 0, 0, False
        self.poll, self.links = select.epoll(), {}
        for wanted in requests:
            link = connect(server)
            link.sendall(wanted)
            self.links[link.fileno()] = link
            self.poll.register(link, select.EPOLLIN)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        scrap = bytearray(1024 * 1024)
        while not self.over:
            for fd, _ in self.poll.poll(0.2):
                try:
                    n = self.links[fd].recv_into(scrap, len(scrap), socket.MSG_TRUNC)    # not even copied
                except OSError:
                    n = 0
                self.came += n
                if n == 0:
                    self.ended += 1
                    self.poll.unregister(fd)

    def close(self):
        self.over = True
        self.thread.join()
        for link in self.links.values():
            link.close()
        if self.ended:
            raise Skip(f"{self.ended} of {len(self.links)} connections were ended")


class Pace:
    """Assets at an even pace, whatever the server does."""
    def __init__(self, server, awaited, webhooks=None):
        self.server, self.awaited, self.links = server, awaited, []
        self.body = asset_body("small.jpg", webhooks)

    def reconnect(self):
        for link in self.links:
            link.close()
        self.links = [connect(self.server) for _ in range(8)]

    def run(self, rate, seconds, told_s=TOLD_S):
        """The processor time of each asset, µs, until awaited ("accepted", "success") counts them all and
        told_s have passed."""
        server, sent, n = self.server, 0, rate * seconds
        before = server.figures()[self.awaited]
        began, cpu_s = time.monotonic(), server.cpu_s()
        while sent < n:
            if sent % 4000 == 0:    # a connection carries a thousand requests
                self.reconnect()
            time.sleep(TICK_S - (time.monotonic() - began) % TICK_S)
            due = min(n, round(rate * (time.monotonic() - began)), (sent // 4000 + 1) * 4000)
            for start in range(sent, due, 64):
                post_batch(self.links, server.port, [self.body] * min(64, due - start))
            sent = due
        wait_for(lambda: server.figures()[self.awaited] >= before + n, 60, f"{n} assets more", 0.05)
        time.sleep(told_s)
        return 1e6 * (server.cpu_s() - cpu_s) / n


def compare_followers(table, name, pace, requests, load, told_s=TOLD_S):
    rate, seconds, rounds = load
    alone, followed, sizes = [], [], []

    def with_them():
        crowd = Crowd(pace.server, requests)
        wait_for(lambda: len(crowd.links) == FOLLOWERS, 10, "all are connected")
        time.sleep(0.5)
        came = crowd.came
        followed.append(pace.run(rate, seconds, told_s))
        sizes.append((crowd.came - came) / FOLLOWERS / (rate * seconds))
        crowd.close()

    for i in range(rounds):
        for measure in (lambda: alone.append(pace.run(rate, seconds, told_s)), with_them)[::1 if i % 2 else -1]:
            measure()
    table.figures(f"nobody: processor time of an asset, µs, {rate:,}/s", alone)
    table.figures(f"{FOLLOWERS:,} {name}, bytes an asset and each", sizes, "{:.1f}")
    table.figures("  added to that processor time, %", [100 * (b / a - 1) for a, b in zip(alone, followed)],
                  "{:.1f}", most=MOST if load is HIGH else None)
    table.figures("  added, % of a processor", [(b - a) * rate / 1e4 for a, b in zip(alone, followed)], "{:.2f}")


def run_followers(table):
    table.section(f"followers: {HIGH[0]:,} assets a second and {LOW[0]}, {FOLLOWERS:,} followers")
    folder = scratch("follow")
    server = Assay(folder, "--max-connections", "4096", root=pictures(folder)).wait_ready()
    receiver = nginx(scratch("receiver"), 1, "location / { return 204; }")
    pace = Pace(server, "success", f"http://127.0.0.1:{receiver.port}")
    pace.run(HIGH[0], 1)    # warm
    for name, path, field, load in STREAMS:
        compare_followers(table, name, pace, [request(path, "Accept: text/event-stream", field)] * FOLLOWERS, load)
    server.stop()
    receiver.stop()
    server = Assay(scratch("wait"), "--workers", "0", "--max-connections", "16384").wait_ready()
    pace = Pace(server, "accepted")
    pace.run(HIGH[0], 1)
    answers = [answer_of(server.port, post_request(server.port, asset_body("x"))) for _ in range(FOLLOWERS)]
    ids = [re.search(rb'"id":"([a-z0-9]+)"', answer).group(1).decode() for answer in answers]
    waits = [request(f"/assets/{name}?wait=60s") for name in ids]
    for name, load in (("who wait for other assets", HIGH), ("who wait, at a low load", LOW)):
        compare_followers(table, name, pace, waits, load, 0.5)
    server.stop()


def run_store(table):
    table.section(f"a full store: {MANY:,} assets")
    servers = [Assay(scratch(name), "--workers", "0", "--max-queued", "100000000").wait_ready()
               for name in ("empty", "full")]
    began = time.monotonic()
    fill(servers[1], MANY)
    table.row("filled by batches of 10,000, assets/s", f"{MANY / (time.monotonic() - began):9,.0f}")
    fill(servers[0], FEW)
    compare_pages(table, servers[0].port, servers[1].port,
                  ("/metrics", "/assets?limit=50", "/assets?state=queued&limit=50"), (f"{FEW:,}", f"{MANY:,}"))
    for server in servers:
        wrk(server.port, 64, 2)    # warm; and what filling left to do is done
    ratios, cpu = [], []
    for i in range(ROUNDS):
        rates, costs = {}, {}
        for server in servers[::1 if i % 2 else -1]:
            cpu_s = server.cpu_s()
            counted = wrk(server.port, 64, 3)
            rates[server], costs[server] = counted["rate"], (server.cpu_s() - cpu_s) / counted["requests"]
        ratios.append(rates[servers[1]] / rates[servers[0]])
        cpu.append(costs[servers[1]] / costs[servers[0]])
    table.figures("accepted/s, full over empty", ratios, "{:.2f}", least=0.9)
    table.figures("processor time of an accept, full over empty", cpu, "{:.2f}")
    for server in servers:
        server.stop()


def run_idle(table):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < IDLE + 1000:
        raise Skip(f"{hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Assay(scratch("idle"), "--workers", "0", "--max-connections", str(IDLE + 100)).wait_ready()
    fresh = sum(server.pss_kib().values())
    links = [connect(server) for _ in range(IDLE)]
    for link in links:
        link.sendall(request("/healthz"))    # each was of use once
    for link in links:
        if not link.recv(4096).startswith(b"HTTP/1.1 200"):
            raise Skip("a connection was not served")
    table.section(f"{IDLE:,} idle connections")
    table.figures("memory they add to the server (PSS), MiB", [(sum(server.pss_kib().values()) - fresh) / 1024],
                  "{:.1f}", most=100)
    for link in links:
        link.close()
    server.stop()


def run(table):
    run_followers(table)
    run_store(table)
    run_idle(table)
