"""A receiver of webhooks: records every request in order of arrival, and answers as it is told to."""
import http.server
import json
import threading
import time
from collections import defaultdict

from harness.deadline import patient


class Answer:
    """What one request gets. held: only after release(). during: called with the arrival before it."""

    def __init__(self, status=200, headers=None, held=False, hang_up=False, during=None, body=b""):
        self.status, self.headers, self.body = status, headers or {}, body
        self.hang_up, self.during = hang_up, during
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def release(self):
        self.gate.set()


class Arrival:
    def __init__(self, number, path, headers, body):
        self.number, self.path, self.headers, self.body = number, path, headers, body
        self.at = time.monotonic()
        self.answered_at = None
        try:
            self.json = json.loads(body)
            self.id, self.state = self.json["id"], self.json["state"]
        except (ValueError, KeyError, TypeError):
            self.json = self.id = self.state = None

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def webhook_id(self):
        return self.header("webhook-id")

    def __repr__(self):
        return f"<{self.number}: {self.path} {self.body[:300]!r}>"


class Sink:
    def __init__(self, address="127.0.0.1"):
        self.changed = threading.Condition()
        self.arrivals = []
        self.by_id, self.by_path = defaultdict(list), defaultdict(list)
        self.answers = {}
        self.paths = 0
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 120
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                arrival, answer = sink._arrived(self.path, self.headers.items(), body)
                if answer.during:
                    answer.during(arrival)
                answer.gate.wait(120)
                arrival.answered_at = time.monotonic()
                if answer.hang_up:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                self.wfile.flush()

            do_GET = do_PUT = do_POST

            def do_CONNECT(self):
                sink._arrived("CONNECT " + self.path, self.headers.items(), b"")
                self.send_error(403)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 1024
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass    # a sender that was killed half way through

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.release_all()
        self.server.shutdown()
        self.server.server_close()

    def release_all(self):
        """Let go of every answer that is still held, so that no test leaves a delivery hanging."""
        for answers in list(self.answers.values()):
            for answer in answers:
                answer.release()

    def _arrived(self, path, headers, body):
        with self.changed:
            arrival = Arrival(len(self.arrivals), path, list(headers), body)
            self.arrivals.append(arrival)
            self.by_id[arrival.id].append(arrival)
            self.by_path[path].append(arrival)
            answers = self.answers.get(path, [])
            answer = answers.pop(0) if len(answers) > 1 else answers[0] if answers else Answer()
            self.changed.notify_all()
        return arrival, answer

    def url(self, *answers, host="127.0.0.1"):
        """A new URL here. Its requests get these answers in turn, the last one for ever; 200 if none."""
        with self.changed:
            self.paths += 1
            path = f"/{self.paths}"
            if answers:
                self.answers[path] = [a if isinstance(a, Answer) else Answer(a) for a in answers]
        return f"http://{host}:{self.port}{path}"

    def all(self):
        """A new URL each for the three notifications."""
        return {"onStart": self.url(), "onSuccess": self.url(), "onFailure": self.url()}

    def at(self, url):
        """What has come to this URL so far."""
        with self.changed:
            return list(self.by_path["/" + url.split("/", 3)[3]])

    def of(self, asset_id):
        with self.changed:
            return list(self.by_id[asset_id])

    def until(self, check, within, why):
        """Wait until check() is true of what has arrived; return what it gives."""
        end = time.monotonic() + patient(within)
        with self.changed:
            while True:
                result = check()
                if result:
                    return result
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{why}: not within {patient(within):.0f} s; "
                                         f"the last to arrive: {self.arrivals[-8:]}")
                self.changed.wait(left)

    def wait(self, asset_id, n, within=5):
        """Wait until n webhooks about this asset have arrived; return them in order of arrival."""
        return self.until(lambda: len(self.by_id[asset_id]) >= n and list(self.by_id[asset_id]), within,
                          f"{n} webhooks about {asset_id}, have {self.by_id[asset_id]}")

    def wait_at(self, url, n, within=5):
        """Wait until n webhooks have arrived at this URL; return them in order of arrival."""
        return self.until(lambda: len(self.at(url)) >= n and self.at(url), within,
                          f"{n} webhooks at {url}")

    def ending(self, asset_id, within=5):
        """Wait for the terminal event of this asset; return it."""
        def ended():
            return [a for a in self.by_id[asset_id] if a.state in ("success", "failed")]
        return self.until(ended, within, f"the ending of {asset_id}")[0]
