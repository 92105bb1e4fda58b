"""The monitor: its pages with few and with many assets, and what it costs when it is open in ten browsers."""
import http.client
import os
import selectors
import statistics
import threading
import time

from tools import Assay, Skip, answer_of, asset_body, get, post_many, scratch, wait_for

FEW, MANY = 1000, int(os.environ.get("BENCH_ASSETS", "1000000"))
PAGES = ("/", "/?span=24h", "/assets", "/webhooks")
TIMES = 60
BROWSERS, WATCH_S, RATE = 10, 20, 20


def fill(server, n):
    """n assets, in the API's own batches."""
    for start in range(0, n, 10_000):
        lines = b"\n".join(asset_body(f"./{i}.jpg") for i in range(start, min(start + 10_000, n)))
        head = (f"POST /assets/images HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                f"Content-Type: application/x-ndjson\r\nContent-Length: {len(lines)}\r\n\r\n")
        answer = answer_of(server.port, head.encode() + lines, within_s=60)
        if not answer.startswith(b"HTTP/1.1 202"):
            raise Skip(f"a batch was not accepted: {answer[:300]!r}")


def page_ms(port, path):
    took = []
    for _ in range(TIMES):
        began = time.monotonic()
        get(port, path)
        took.append(1000 * (time.monotonic() - began))
    return statistics.median(took)


def compare_pages(table, few, many, paths, names):
    """few and many: the same program's ports, with few and with many assets; the goal is at most twice the time."""
    for path in paths:
        rounds = [(page_ms(few, path), page_ms(many, path)) for _ in range(5)]
        table.row(f"{path} with {names[0]} and {names[1]} assets, ms",
                  " and ".join(f"{statistics.median(r):.2f}" for r in zip(*rounds)))
        table.figures("  the second over the first", [b / a for a, b in rounds], "{:.2f}", most=2)


def first_page_bytes(server):
    page = get(server.monitor_port, "/")
    files = ("/style.css", "/monitor.js", "/icon.svg")
    return len(page) + sum(len(get(server.monitor_port, path)) for path in files)


def run_pages(table):
    few = Assay(scratch("monitor-few"), "--workers", "0").wait_ready()
    fill(few, FEW)
    table.figures("first page, style sheet and script, KiB", [first_page_bytes(few) / 1024], "{:,.1f}", most=100)
    many = Assay(scratch("monitor-many"), "--workers", "0", "--max-queued", str(2 * MANY)).wait_ready()
    fill(many, MANY)
    compare_pages(table, few.monitor_port, many.monitor_port, PAGES, (f"{FEW:,}", f"{MANY:,}"))
    few.stop()
    many.stop()


class Browsers:
    """What the script of the pages does: follow, and fetch the page at most every five seconds."""
    def __init__(self, server, n):
        self.server, self.selector, self.over = server, selectors.DefaultSelector(), False
        self.links = []
        for _ in range(n):
            link = http.client.HTTPConnection("127.0.0.1", server.monitor_port, timeout=30)
            link.request("GET", "/live")
            self.selector.register(link.sock, selectors.EVENT_READ, {"fetched": time.monotonic()})
            self.links.append(link)
        self.events = 0
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while not self.over:
            for key, _ in self.selector.select(0.2):
                self.events += key.fileobj.recv(65536).count(b"event: figures")
                if time.monotonic() - key.data["fetched"] > 5:
                    key.data["fetched"] = time.monotonic()
                    get(self.server.monitor_port, "/")

    def close(self):
        self.over = True
        self.thread.join()
        for link in self.links:
            link.close()


def load(server, seconds):
    """RATE assets a second; the share of a core that the server takes, in percent."""
    began, cpu = time.monotonic(), server.cpu_s()
    while (passed := time.monotonic() - began) < seconds:
        post_many(server.port, [asset_body("./a.jpg")], connections=1, pipelined=1)
        time.sleep(max(0, 1 / RATE - (time.monotonic() - began - passed)))
    return 100 * (server.cpu_s() - cpu) / (time.monotonic() - began)


def run_browsers(table):
    server = Assay(scratch("monitor-open"), "--workers", "0").wait_ready()
    alone = load(server, WATCH_S)
    browsers = Browsers(server, BROWSERS)
    watched = load(server, WATCH_S)
    wait_for(lambda: browsers.events >= BROWSERS, 5, "the browsers follow")
    browsers.close()
    server.stop()
    table.row(f"{RATE} assets a second, nobody looks, % of a core", f"{alone:.2f}")
    table.figures(f"  added by {BROWSERS} browsers", [max(0, watched - alone)], "{:.2f}", most=2)


def run(table):
    table.section("monitor")
    run_browsers(table)
    run_pages(table)
