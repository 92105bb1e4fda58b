"""Whole lives: from the request to the last webhook's answer, on one machine with its receiver."""
import os
import re
import selectors
import socket
import statistics
import threading
import time

from footprint import pictures
from tools import Assay, answer_of, asset_body, get, need, nginx, post_many, post_request, scratch, wait_for, wrk

LIVES = int(os.environ.get("BENCH_LIVES", "10000"))
ROUNDS = 3
CALM_RATE, CALM_ASSETS = 20, 240


class Sink:
    """A receiver that notes when each asset's ending came, as (number in its URL's path, id)."""
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ended = {}
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.listener:
                    link = self.listener.accept()[0]
                    selector.register(link, selectors.EVENT_READ, bytearray())
                    continue
                data = key.fileobj.recv(65536)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                key.data.extend(data)
                self.read(key.fileobj, key.data)

    def read(self, link, data):
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)content-length: *(\d+)", data[:head])
            whole = head + 4 + (int(length.group(1)) if length else 0)
            if len(data) < whole:
                return
            told = re.search(rb'"id":"([a-z0-9]+)","state":"(\w+)"', data[head:whole])
            if told and told.group(2) != b"started":
                which = int(re.match(rb"POST /(\d+)/", data).group(1))
                self.ended.setdefault((which, told.group(1).decode()), time.monotonic())
            del data[:whole]
            link.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def one_at_a_time(ports):
    """For each server, in turns at a low load: seconds to the 202s, and to the webhooks of the endings."""
    sink = Sink()
    begun, took = [{} for _ in ports], [[] for _ in ports]
    first = time.monotonic()
    for i in range(CALM_ASSETS * len(ports)):
        time.sleep(max(0.0, first + i / CALM_RATE - time.monotonic()))
        which, sent = i % len(ports), time.monotonic()
        port = ports[which]
        answer = answer_of(port, post_request(port, asset_body("small.jpg", f"{sink.url}/{which}")))
        took[which].append(time.monotonic() - sent)
        begun[which][which, re.search(rb'"id":"([a-z0-9]+)"', answer).group(1).decode()] = sent
    wait_for(lambda: len(sink.ended) >= CALM_ASSETS * len(ports), 10, "every ending has come", 0.01)
    return [(took[which], [sink.ended[name] - sent for name, sent in begun[which].items()])
            for which in range(len(ports))]


def middle_and_end(seconds):
    values = sorted(s * 1000 for s in seconds)
    return f"{statistics.median(values):9.1f}, {values[int(len(values) * 0.99)]:.1f}"


def calm(table, server):
    """At a low load: how long until the client knows."""
    took, told = one_at_a_time([server.port])[0]
    table.section(f"one asset at a time: {CALM_RATE} a second, {CALM_ASSETS} in all")
    table.row("request to 202, ms: p50, p99", middle_and_end(took))
    table.row("request to its ending's webhook, ms: p50, p99", middle_and_end(told))


def served(sink):
    """How many webhooks nginx has answered, this question left out."""
    page = get(sink.port, "/status").decode().split("\r\n\r\n", 1)[1]
    served.questions += 1
    return int(page.splitlines()[2].split()[2]) - served.questions


def busy(table, server):
    """All at once: how many lives a second, started and ending webhook of each included."""
    folder = scratch("sink")
    sink = nginx(folder, 1, "location = /status { stub_status; }", "location / { return 204; }")
    served.questions = 1    # nginx() asked once
    rates, posts = [], []
    try:
        for _ in range(ROUNDS):
            posts.append(wrk(sink.port, 64, 2)["rate"])
            answered = served(sink)
            ended = server.figures()["success"]
            begun = time.monotonic()
            post_many(server.port, [asset_body("small.jpg", f"http://127.0.0.1:{sink.port}")] * LIVES)
            server.wait_ended(ended + LIVES, 60)
            wait_for(lambda: served(sink) >= answered + 2 * LIVES, 60, "every webhook was answered", 0.02)
            rates.append(LIVES / (time.monotonic() - begun))
    finally:
        sink.stop()
    table.section(f"whole lives, two webhooks each to nginx `return 204`: {ROUNDS} rounds of {LIVES:,}, interleaved with wrk")
    table.figures("lives/s, from first post to last webhook", rates)
    table.figures("wrk posting to the same nginx, 64 connections, /s", posts)
    table.figures("webhooks / wrk's posts", [2 * life / post for life, post in zip(rates, posts)], "{:.2f}")


def run(table):
    folder = scratch("lives")
    server = Assay(folder, root=pictures(folder)).wait_ready()
    try:
        calm(table, server)
        need("nginx")
        need("wrk")
        busy(table, server)
    finally:
        server.stop()
