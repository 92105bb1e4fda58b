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
    """A receiver that notes when each asset's ending came."""
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
                self.ended.setdefault(told.group(1).decode(), time.monotonic())
            del data[:whole]
            link.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def calm(table, server):
    """At a low load: how long until the client knows."""
    sink = Sink()
    begun, took = {}, []
    first = time.monotonic()
    for i in range(CALM_ASSETS):
        time.sleep(max(0.0, first + i / CALM_RATE - time.monotonic()))
        sent = time.monotonic()
        answer = answer_of(server.port, post_request(server.port, asset_body("small.jpg", sink.url)))
        took.append(time.monotonic() - sent)
        begun[re.search(rb'"id":"([a-z0-9]+)"', answer).group(1).decode()] = sent
    wait_for(lambda: len(sink.ended) >= len(begun), 10, "every ending has come", 0.01)
    delays = sorted((sink.ended[name] - sent) * 1000 for name, sent in begun.items())
    took.sort()
    table.section(f"one asset at a time: {CALM_RATE} a second, {CALM_ASSETS} in all")
    for name, values in (("request to 202, ms: p50, p99", [s * 1000 for s in took]),
                         ("request to its ending's webhook, ms: p50, p99", delays)):
        table.row(name, f"{statistics.median(values):9.1f}, {values[int(len(values) * 0.99)]:.1f}")


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
