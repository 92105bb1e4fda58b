"""The policy on addresses, live: whatever notation, name or redirect leads there.

A server that may reach only 10.0.0.0/8 has a receiver on loopback that must never hear of anything; one
that may reach loopback finds what is not HTTP, or never ends, no harder than any other failure."""
import socket
import threading

import pytest

from harness.assay import deliveries, free_port
from harness.sink import Answer, Sink


@pytest.fixture(scope="module")
def guarded(module_servers):
    return module_servers.start("--webhook-allow", "public,private")


@pytest.fixture(scope="module")
def trap():
    sink = Sink()
    yield sink
    assert not sink.arrivals, sink.arrivals
    sink.close()


INVALID, DISALLOWED = "is not a valid URL", "is not an allowed URL"

LITERAL = [
    ("http://127.1:{port}/", INVALID),
    ("http://0x7f.1:{port}/", INVALID),
    ("http://2130706433:{port}/", INVALID),
    ("http://0177.0.0.1:{port}/", INVALID),
    ("http://0x7f000001:{port}/", INVALID),
    ("http://127.0.0.1:{port}/", DISALLOWED),
    ("http://127.9.9.9:{port}/", DISALLOWED),
    ("http://[::1]:{port}/", DISALLOWED),
    ("http://[::ffff:127.0.0.1]:{port}/", DISALLOWED),
    ("http://[::ffff:7f00:1]:{port}/", DISALLOWED),
    ("http://[::127.0.0.1]:{port}/", DISALLOWED),
    ("http://0.0.0.0:{port}/", DISALLOWED),
    ("http://[::]:{port}/", DISALLOWED),
    ("http://169.254.169.254/latest/meta-data/", DISALLOWED),
    ("http://[::ffff:169.254.169.254]/latest/meta-data/", DISALLOWED),
    ("http://[fd00:ec2::254]/latest/meta-data/", DISALLOWED),
    ("http://[64:ff9b::7f00:1]:{port}/", DISALLOWED),
    ("http://[2002:7f00:1::]:{port}/", DISALLOWED),
    ("http://100.100.100.200/", DISALLOWED),
    ("http://168.63.129.16/", DISALLOWED),
    ("http://10.0.0.1:6379/", DISALLOWED),
    ("gopher://127.0.0.1:{port}/", INVALID),
    ("file:///etc/passwd", INVALID),
    ("ftp://127.0.0.1:{port}/", INVALID),
    ("http://user@127.0.0.1:{port}/", INVALID),
]


@pytest.mark.parametrize("url,message", LITERAL)
def test_a_literal_address_is_judged_before_anything_is_sent(guarded, trap, url, message):
    url = url.format(port=trap.port)
    asset = guarded.settled(guarded.submit("small.jpg", onStart=url, onSuccess=url))
    assert asset["errors"] == {"onStart": [message], "onSuccess": [message]}
    assert all(told["state"] in ("invalid", "disallowed") for told in deliveries(asset).values())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
def test_a_name_is_judged_by_its_addresses_and_not_tried_again(guarded, trap, host):
    url = f"http://{host}:{trap.port}/"
    asset = guarded.settled(guarded.submit("small.jpg", onSuccess=url))
    assert asset["state"] == "success"
    told = deliveries(asset)["onSuccess"]
    assert (told["state"], told["attempts"], told["lastError"]) == ("dead", 1, "disallowed")


def test_a_port_of_another_protocol_is_refused_for_names_too(assay):
    asset = assay.settled(assay.submit("small.jpg", onSuccess="http://localhost:6379/"))
    assert deliveries(asset)["onSuccess"]["lastError"] == "disallowed"
    asset = assay.settled(assay.submit("small.jpg", onSuccess="http://127.0.0.1:11211/"))
    assert asset["errors"] == {"onSuccess": [DISALLOWED]}


def test_a_redirect_to_a_refused_address_is_not_followed(servers, trap):
    sink = Sink()
    assay = servers.start("--webhook-allow", "127.0.0.2/32", "--webhook-deny", "127.0.0.1/32")
    listener = socket.create_server(("127.0.0.2", 0))
    def redirect():
        for _ in range(4):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{trap.port}/\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            connection.close()
    threading.Thread(target=redirect, daemon=True).start()
    url = f"http://127.0.0.2:{listener.getsockname()[1]}/"
    told = deliveries(assay.settled(assay.submit("small.jpg", onSuccess=url)))["onSuccess"]
    assert (told["state"], told["attempts"], told["lastStatus"]) == ("dead", 4, 302)
    listener.close()
    sink.close()


def test_events_that_wait_when_sending_is_switched_off_end_as_off(servers, sink):
    assay = servers.start(schedule=("--webhook-schedule", "1h"))
    url = sink.url(503)
    asset_id = assay.submit("small.jpg", onStart=url, onSuccess=url)
    sink.wait_at(url, 2)
    assay.stop()
    assay.flags[:2] = ["--webhook-allow", "none"]
    assay.start()
    assert {told["state"] for told in deliveries(assay.asset(asset_id)).values()} == {"pending"}
    held = Answer(200, held=True)    # and one that is due at once
    assay.stop()
    assay.flags[:2] = ["--webhook-schedule", "1h"]
    assay.start()
    due = assay.submit("small.jpg", onStart=sink.url(held))
    sink.wait(due, 1)
    assay.kill()
    assay.flags[:2] = ["--webhook-allow", "none"]
    assay.start()
    told = deliveries(assay.settled(due))["onStart"]
    assert (told["state"], told["nextAttemptAt"]) == ("off", None)
    held.release()


def test_nobody_listening_is_no_refusal(assay):
    url = f"http://127.0.0.1:{free_port()}/"
    told = deliveries(assay.settled(assay.submit("small.jpg", onSuccess=url)))["onSuccess"]
    assert (told["state"], told["attempts"], told["lastError"]) == ("dead", 4, "refused")
