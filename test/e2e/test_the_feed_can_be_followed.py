"""GET /events as a stream and as pages, and GET /assets/{id}?wait=…: who was away misses nothing."""
import http.client
import json
import re
import socket
import threading
import time
import zlib

import pytest

from harness.client import problem
from harness.deadline import eventually, patient


class Stream:
    """A client of the event stream."""

    def __init__(self, assay, query="", **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", assay.port, timeout=patient(10))
        self.connection.request("GET", "/events" + query, headers={
            "Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def next(self):
        """The next event's fields; None at the end."""
        fields = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line == "" and self.answer.isclosed():
                return None
            if line == "" and "data" in fields:
                return fields
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.strip()

    def of(self, asset_id, n):
        """The next n events of this asset."""
        events = []
        while len(events) < n:
            event = self.next()
            data = json.loads(event["data"])
            if data["id"] == asset_id:
                events.append({**data, "seq": int(event["id"])})
        return events

    def close(self):
        self.connection.close()


def test_a_stream_tells_every_change(assay):
    stream = Stream(assay)
    asset_id = assay.submit("text.jpg")
    events = stream.of(asset_id, 3)
    assert [event["state"] for event in events] == ["queued", "started", "failed"]
    assert events[2]["errors"]["asset"] and "run" not in events[0]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert assay.request("POST", f"/assets/{asset_id}/retry").status == 202
    assert [event["run"] for event in stream.of(asset_id, 3)] == [2, 2, 2]
    stream.close()


def test_who_comes_back_gets_what_was_missed(assay):
    stream = Stream(assay)
    first = stream.of(assay.submit("small.jpg"), 3)
    stream.close()
    missed = assay.submit("small.jpg")
    assay.ended(missed)
    for again in (Stream(assay, Last_Event_ID=str(first[2]["seq"])), Stream(assay, f"?after={first[2]['seq']}")):
        assert [event["state"] for event in again.of(missed, 3)] == ["queued", "started", "success"]
        live = assay.submit("small.jpg")    # and goes on with what happens now
        assert [event["state"] for event in again.of(live, 3)] == ["queued", "started", "success"]
        again.close()


def test_many_streams_see_the_same(servers):
    assay = servers.start()
    streams = [Stream(assay) for _ in range(50)]
    ids = [assay.submit("small.jpg") for _ in range(20)]
    seen = []
    for stream in streams:
        events = [stream.next() for _ in range(60)]
        seen.append([int(event["id"]) for event in events])
        assert {json.loads(event["data"])["id"] for event in events} == set(ids)
    assert all(seqs == list(range(1, 61)) for seqs in seen)


def batch(assay, n):
    lines = b"".join(b'{"assetPath":{"location":"local","path":"small.jpg"}}\n' for _ in range(n))
    assert assay.request("POST", "/assets/images", lines, {"Content-Type": "application/x-ndjson"}).status == 202


def test_a_slow_reader_misses_nothing_and_holds_up_nobody(servers):
    assay = servers.start("--workers", "0")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)    # the server must keep its place
    slow.connect(("127.0.0.1", assay.port))
    slow.settimeout(patient(10))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert slow.recv(4096).startswith(b"HTTP/1.1 200")
    quick = Stream(assay)
    for _ in range(2):
        batch(assay, 10000)    # more than is kept ready for who is slow
    assert [int(quick.next()["id"]) for _ in range(20000)] == list(range(1, 20001))
    quick.close()
    text, seqs = b"", []
    while len(seqs) < 20000:
        more = slow.recv(65536)
        assert more
        text += more
        whole = text.rfind(b"\n\n") + 2
        seqs += [int(seq) for seq in re.findall(rb"(?:^|\n)id: (\d+)\n", re.sub(rb"\r\n[0-9a-f]+\r\n", b"", text[:whole]))]
        text = text[whole:]
    slow.close()
    assert seqs == list(range(1, 20001))


# --- GET /events?state=…

def test_a_stream_of_endings_only(assay):
    before = assay.get("/events?after=0&limit=1000").json["next"]
    stream = Stream(assay, "?state=success&state=failed")
    good, bad = assay.submit("small.jpg"), assay.submit("text.jpg")
    assay.ended(good)
    assay.ended(bad)
    for ending in (stream, Stream(assay, "?state=failed&state=success", Last_Event_ID=str(before))):
        events = [json.loads(ending.next()["data"]) for _ in range(2)]
        assert {(event["id"], event["state"]) for event in events} == {(good, "success"), (bad, "failed")}
        ending.close()
    page = assay.get(f"/events?after={before}&state=failed").json
    assert [event["id"] for event in page["events"]] == [bad] and page["next"] == before + 6


def test_who_waits_for_what_does_not_come_learns_how_far_it_was_looked(servers):
    assay = servers.start("--workers", "0")
    batch(assay, 2500)
    stream = Stream(assay, "?state=failed&after=0")
    ids = []
    while ids[-1:] != ["2500"]:
        name, _, value = stream.answer.readline().decode().rstrip("\n").partition(": ")
        assert name in ("", "retry", "id")
        ids += [value] if name == "id" else []
    assert ids == ["1000", "2000", "2500"]    # so who comes back goes on from there
    stream.close()


def test_a_state_that_there_is_not_is_refused(assay):
    for query in ("state=bogus", "state=", "state=Failed", "state=failed&state=x"):
        problem(assay.get(f"/events?{query}"), 400)


# --- compressed

def test_a_stream_is_compressed_for_who_takes_that(servers):
    assay = servers.start()
    early = Stream(assay, Accept_Encoding="br, gzip")
    first = assay.submit("text.jpg")
    assay.ended(first)
    late = Stream(assay, Accept_Encoding="gzip")
    replay = Stream(assay, "?after=0", Accept_Encoding="br;q=1.0 , GZIP")
    plain = Stream(assay, "?after=0", Accept_Encoding="identity, gzip;q=0")
    second = assay.submit("small.jpg")
    assert [event["state"] for event in plain.of(first, 3) + plain.of(second, 3)] == [
        "queued", "started", "failed", "queued", "started", "success"]
    assert plain.answer.headers["Content-Encoding"] is None
    assay.stop()
    # "Now" is what the others were told: the late one may hear of changes that they are told next.
    for stream, begins in ((early, [1]), (late, [2, 3, 4]), (replay, [1])):
        assert stream.answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in stream.answer.headers["Vary"]
        whole = zlib.decompressobj(31)    # a gzip file with a right sum
        text = whole.decompress(stream.answer.read()).decode()
        assert whole.eof and not whole.unused_data
        seqs = [int(seq) for seq in re.findall(r"^id: (\d+)$", text, re.MULTILINE)]
        assert seqs[0] in begins and seqs == list(range(seqs[0], 7))


def test_a_compressed_event_can_be_read_at_once(assay):
    stream = Stream(assay, Accept_Encoding="gzip")
    asset_id = assay.submit("small.jpg")
    unpack, text = zlib.decompressobj(31), b""
    while text.count(asset_id.encode()) < 3:
        text += unpack.decompress(stream.answer.read1())
    stream.close()


def test_pages_of_the_feed(servers):
    assay = servers.start()
    ids = [assay.submit("small.jpg") for _ in range(5)]
    for asset_id in ids:
        assay.ended(asset_id)
    after, events = 0, []
    while len(events) < 15:
        page = assay.get(f"/events?after={after}&limit=4").json
        assert page["first"] == 1 and 0 < len(page["events"]) <= 4
        events += page["events"]
        after = page["next"]
    assert [event["seq"] for event in events] == list(range(1, 16))
    assert assay.get(f"/events?after={after}").json == {"events": [], "next": after, "first": 1}
    for asset_id in ids:
        assert [e["state"] for e in events if e["id"] == asset_id] == ["queued", "started", "success"]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=", "limit=0", "limit=1001", "x=1"])
def test_parameters_that_are_no_good_are_refused(assay, query):
    problem(assay.get(f"/events?{query}"), 400)
    problem(assay.get("/events", {"Last-Event-ID": "x", "Accept": "text/event-stream"}), 400)


def test_the_feed_lasts(servers):
    assay = servers.start()
    assay.ended(assay.submit("small.jpg"))
    before = assay.get("/events?after=0").json
    assay.kill()
    assay.start()
    assert assay.get("/events?after=0").json == before


def test_a_drain_ends_streams_and_waits(servers):
    assay = servers.start("--workers", "0")
    asset_id = assay.submit("small.jpg")
    stream = Stream(assay)
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(assay.get(f"/assets/{asset_id}?wait=60s")))
    waiter.start()
    time.sleep(0.3)    # whether it waits already or comes too late: it is answered
    began = time.monotonic()
    assay.stop()
    waiter.join()
    assert time.monotonic() - began < patient(10)
    assert stream.next() is None
    assert not answers or answers[0].json["state"] == "queued"


# --- GET /assets/{id}?wait=…

def test_waiting_ends_with_the_asset(servers):
    assay = servers.start("--workers", "1")
    for _ in range(20):
        asset_id = assay.submit("small.jpg")
        began = time.monotonic()
        answer = assay.get(f"/assets/{asset_id}?wait=30s")
        assert answer.status == 200 and answer.json["state"] == "success"
        assert time.monotonic() - began < patient(5)


def test_waiting_ends_with_the_time(servers):
    assay = servers.start("--workers", "0")
    asset_id = assay.submit("small.jpg")
    began = time.monotonic()
    assert assay.get(f"/assets/{asset_id}?wait=1s").json["state"] == "queued"
    assert 0.9 < time.monotonic() - began < patient(5)
    assert assay.get(f"/assets/{asset_id}?wait=0s").json["state"] == "queued"


def test_waiting_ends_with_the_clients_sending_side(servers):
    assay = servers.start("--workers", "0", "--max-connections", "16")
    asset_id = assay.submit("small.jpg")
    request = f"GET /assets/{asset_id}?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for _ in range(30):    # those who leave hold no connection
        socket_of(assay, request).close()
    eventually(lambda: assay.get("/healthz").status == 200, 5, "there is room again")
    began = time.monotonic()
    for early in (True, False):
        reader = socket_of(assay, request[:20] if early else request)
        if early:
            reader.sendall(request[20:])
        reader.shutdown(socket.SHUT_WR)
        answer = b""
        while more := reader.recv(4096):
            answer += more
        assert answer.startswith(b"HTTP/1.1 200") and b'"state":"queued"' in answer
        reader.close()
    assert time.monotonic() - began < patient(10)


def socket_of(assay, sent):
    client = socket.create_connection(("127.0.0.1", assay.port), timeout=patient(10))
    client.sendall(sent)
    return client


def test_waiting_for_what_is_not_there_is_404_at_once(assay):
    began = time.monotonic()
    problem(assay.get("/assets/0000000?wait=30s"), 404)
    assert time.monotonic() - began < patient(3)


def test_many_wait_for_one(servers):
    assay = servers.start("--workers", "0")
    asset_id = assay.submit("small.jpg")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(assay.get(f"/assets/{asset_id}?wait=2s")))
               for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.json["state"] for answer in answers} == {"queued"} and len(answers) == 100


@pytest.mark.parametrize("wait", ["61s", "-1s", "1", "s", "1m", "1.5s", "", "999s"])
def test_times_that_are_no_good_are_refused(assay, wait):
    asset_id = assay.submit("small.jpg")
    problem(assay.get(f"/assets/{asset_id}?wait={wait}"), 400)
