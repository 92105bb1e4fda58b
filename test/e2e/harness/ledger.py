"""Clients that post all the time and write down what was promised to them, whatever happens to the server; and
whether it was kept."""
import http.client
import random
import threading


class Client(threading.Thread):
    """Posts one asset after another and keeps a ledger of what was answered 202."""

    def __init__(self, assay, sink, seed, over, pause=0.08):
        super().__init__(daemon=True)
        self.assay, self.sink, self.over = assay, sink, over
        self.random, self.pause = random.Random(seed), pause
        self.ledger = {}    # id → the state it must end in
        self.posted = 0
        self.strange = []

    def run(self):
        connection = None
        while not self.over.wait(self.random.uniform(0, self.pause)):
            path, state = self.random.choice((
                ("good.jpg", "success"), ("small.jpg", "success"), ("text.jpg", "failed"),
                ("too-wide.jpg", "failed"), ("missing.jpg", "failed")))
            first = self.random.choice((200, 200, 200, 500, 302))
            urls = {"onStart": self.sink.url(first, 200), "onSuccess": self.sink.url(first, 200),
                    "onFailure": self.sink.url()}
            self.posted += 1
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.assay.port, timeout=20)
                answer = self.assay.post({"assetPath": {"location": "local", "path": path},
                                          "notifications": urls}, connection=connection)
            except (OSError, http.client.HTTPException):    # it was killed: not in the ledger
                connection = None
                continue
            if answer.headers.get("connection", "").lower() == "close":
                connection = None
            if answer.status == 202:
                self.ledger[answer.json["id"]] = state
            elif answer.status != 503:
                self.strange.append(answer)


def accepted(clients):
    """Wait for the clients, and put their ledgers together."""
    for client in clients:
        client.join()
    assert not [answer for client in clients for answer in client.strange]
    ledger = {asset_id: state for client in clients for asset_id, state in client.ledger.items()}
    assert len(ledger) == sum(len(client.ledger) for client in clients), "an id was given twice"
    return ledger


def check_told(sink, asset_id, state):
    """Exactly one ending, this one, told at least once and as one event; and started before it, as another."""
    arrivals = sink.of(asset_id)
    started = [a for a in arrivals if a.state == "started"]
    ended = [a for a in arrivals if a.state != "started"]
    assert started and ended, arrivals
    assert started[0].number < ended[0].number, arrivals
    assert {a.state for a in ended} == {state}, arrivals
    assert len({(a.webhook_id, a.body) for a in started}) == 1, arrivals
    assert len({(a.webhook_id, a.body) for a in ended}) == 1, arrivals
