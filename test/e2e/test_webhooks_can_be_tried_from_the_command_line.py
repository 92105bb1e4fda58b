"""`assay webhook test`, `listen` and `resend`: what a person has at hand when webhooks do not come."""
import base64
import shlex
import signal
import socket
import struct
import subprocess
import threading

import pytest

from harness import client
from harness.assay import BINARY, deliveries, environment, free_port, run
from harness.deadline import eventually, patient
from harness.sink import Answer, Sink

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


def steps(ended):
    """[(step, "ok" or "failed")] of the lines of `webhook test`."""
    lines = ended.stdout.partition("\n\n")[0].splitlines()
    return [tuple(line.split()[:2]) for line in lines]


def test_each_step_of_a_delivery_is_shown(sink):
    url = sink.url(Answer(200, body=b"thanks"))
    ended = run("webhook", "test", url, env={"ASSAY_WEBHOOK_SECRET": SECRET})
    assert ended.returncode == 0, ended
    assert steps(ended)[:7] == [(name, "ok") for name in
                                ("rule", "dns", "policy", "connect", "send", "status", "signature")]
    assert "200 after" in ended.stdout and '"thanks"' in ended.stdout
    [arrival] = sink.at(url)
    assert arrival.header("webhook-signature") in ended.stdout and SECRET not in ended.stdout


def test_its_last_line_does_it_again(sink):
    url = sink.url() + "?it's=1"
    ended = run("webhook", "test", url)
    [line] = [line for line in ended.stdout.splitlines() if line.startswith("curl ")]
    try:
        subprocess.run(shlex.split(line), capture_output=True, timeout=patient(10), check=True)
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    first, second = sink.at(url)
    assert first.body == second.body and first.webhook_id == second.webhook_id


@pytest.mark.parametrize("url,step", [
    ("http://127.1/", "rule"), ("file:///etc/passwd", "rule"), ("http://nowhere.invalid/", "dns"),
    ("http://169.254.169.254/", "policy"), ("http://localhost:6379/", "policy"),
    ("http://127.0.0.1:{closed}/", "connect"), ("https://127.0.0.1:{sink}/", "tls"),
    ("http://127.0.0.1:{sink}/", "status")])
def test_the_step_that_fails_is_named(url, step):
    sink = Sink()
    sink.answers["/"] = [Answer(500)]
    ended = run("webhook", "test", url.format(closed=free_port(), sink=sink.port))
    assert ended.returncode == 1, ended
    assert (step, "failed") in steps(ended), ended.stdout
    assert all(result == "ok" for name, result in steps(ended) if name not in (step, "signature", "answer"))
    sink.close()


@pytest.fixture
def rude():
    """Starts a receiver that answers every connection with these bytes, or with a reset if there are none."""
    listeners = []

    def start(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(65536)
                connection.sendall(answer)
                if not answer:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]
    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("scheme,answer,failed,word", [
    ("http", b"", "status", "reset"), ("http", b"SSH-2.0-x\r\n\r\n", "status", "protocol"),
    ("https", b"", "tls", "tls"), ("https", b"HTTP/1.1 400 X\r\n\r\n", "tls", "tls")])
def test_a_receiver_that_breaks_off_has_been_reached(rude, scheme, answer, failed, word):
    ended = run("webhook", "test", f"{scheme}://127.0.0.1:{rude(answer)}/")
    done = {"tls": ["connect"], "status": ["connect", "send"]}[failed]
    assert [step for step in steps(ended) if step[0] != "signature"][3:] == \
        [(step, "ok") for step in done] + [(failed, "failed")], ended.stdout
    assert f"failed  {word}: " in ended.stdout    # as in the table of docs/WEBHOOKS.md


def test_nobody_there_is_told_in_the_word_of_the_log():
    ended = run("webhook", "test", f"http://127.0.0.1:{free_port()}/")
    assert "connect    failed  refused: " in ended.stdout


def test_one_good_address_of_two_is_enough(sink):
    ended = run("webhook", "test", sink.url(host="localhost"), "--webhook-deny", "::1/128")
    assert ended.returncode == 0 and ("policy", "ok") in steps(ended)


@pytest.fixture
def listener(tmp_path):
    """Starts `assay webhook listen`; gives its port and what it has printed."""
    started = []

    def start(*flags, env=None):
        port = free_port()
        out = open(tmp_path / f"out{len(started)}", "wb+")
        process = subprocess.Popen([BINARY, "webhook", "listen", "--listen", f"127.0.0.1:{port}", *flags],
                                   env=environment(env), stdout=out, stderr=subprocess.DEVNULL)
        started.append((process, out))

        def answers():
            try:
                return client.request(port, "GET", "/").status == 405
            except OSError:
                return False
        eventually(answers, 10, "it listens")

        def printed():
            out.seek(0)
            return out.read().decode()
        return port, printed
    yield start
    for process, out in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(10)) == 0
        out.close()


def test_the_receiver_shows_what_a_server_sends(servers, listener):
    port, printed = listener(env={"ASSAY_WEBHOOK_SECRET": SECRET})
    assay = servers.start(env={"ASSAY_WEBHOOK_SECRET": f"{OTHER} {SECRET}"})
    url = f"http://127.0.0.1:{port}/hooks"
    asset_id = assay.submit("no-such-file.jpg", onStart=url, onFailure=url)
    told = deliveries(assay.settled(asset_id))
    assert {d["lastStatus"] for d in told.values()} == {204}
    text = eventually(lambda: printed() if printed().count("verified") == 2 else None, 5, "it is shown")
    assert f"/hooks  {asset_id}_1_" in text and '"state": "started"' in text
    assert '"is not reachable"' in text


@pytest.mark.parametrize("secret,said", [(None, "unsigned"), (OTHER, "BAD SIGNATURE")])
def test_the_receiver_tells_who_did_not_sign(listener, secret, said):
    port, printed = listener(env={"ASSAY_WEBHOOK_SECRET": SECRET})
    ended = run("webhook", "test", f"http://127.0.0.1:{port}/", env={"ASSAY_WEBHOOK_SECRET": secret} if secret else None)
    assert ended.returncode == 0
    assert said in printed() and "verified" not in printed()


def test_the_receiver_writes_no_control_characters_to_a_terminal(listener):
    port, printed = listener("--status", "503")
    for body in (b"\x1b[2Jgone", b'{"id":"\\u001b[2J","state":"\xc2\x9b2J"}', b"\x00\xff"):
        answer = client.request(port, "POST", "/x", body, {"webhook-id": "\x1b[31m".replace("\x1b", "e")})
        assert answer.status == 503
    assert not set(printed()) - set(map(chr, range(0x20, 0x7f))) - {"\n", "\ufffd"}, printed()


def test_dead_letters_are_sent_again_from_the_command_line(servers, sink):
    key = "a key of at least 16".replace(" ", "-")
    assay = servers.new("--webhook-schedule", "100ms", env={"ASSAY_API_KEY": key}).start()
    mine = {"Authorization": f"Bearer {key}"}
    url = sink.url(410, 410, 200)
    body = {"assetPath": {"location": "local", "path": "small.jpg"}, "notifications": {"onSuccess": url}}
    assay.post(body, headers=mine)
    assay.post(body, headers=mine)
    dead = eventually(lambda: (w := assay.get("/webhooks?state=dead", mine).json["webhooks"]) and len(w) == 2 and w,
                      5, "both are dead")
    listen = ("--listen", f"127.0.0.1:{assay.port}")
    assert run("webhook", "resend", dead[0]["id"], *listen).returncode == 1    # without the key
    ended = run("webhook", "resend", dead[0]["id"], *listen, env={"ASSAY_API_KEY": key})
    assert ended.returncode == 0, ended
    ended = run("webhook", "resend", "--all-dead", *listen, env={"ASSAY_API_KEY": f"me:{key}"})
    assert ended.returncode == 0 and '"resent":1' in ended.stdout
    eventually(lambda: len(assay.get("/webhooks?state=delivered", mine).json["webhooks"]) == 2, 5, "delivered")
    assert run("webhook", "resend", "0000000_1_success", *listen, env={"ASSAY_API_KEY": key}).returncode == 1


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["test"], ["test", "a", "b"], ["resend"], ["resend", "x", "--all-dead"],
    ["resend", "../assets"], ["listen", "here"], ["listen", "--status", "99"], ["test", "http://h/", "--what"]])
def test_a_call_that_makes_no_sense_ends_with_2(arguments):
    ended = run("webhook", *arguments)
    assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1, ended
