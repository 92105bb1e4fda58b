"""The compose stack on a real Docker engine, under a project name, ports and an image tag of its own."""
import http.client
import os
import re
import shutil
import subprocess
import threading

from harness.assay import Assay, PROJECT, asset_body, free_port
from harness.deadline import eventually, patient
from harness.ledger import accepted, check_told
from harness.sink import Sink

REDIS_IMAGE = os.environ.get("REDIS_IMAGE") or "redis:8"
IMAGE = f"assay-compose-test-{os.getpid()}:local"
LEASE_S = 3


def sh(*args, check=True, within=60, **more):
    """A program; what it wrote, both streams."""
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=patient(within), **more)
    assert not check or done.returncode == 0, f"{' '.join(args)}: exit {done.returncode}\n{done.stdout[-6000:]}"
    return done.stdout


def docker(*args, **more):
    return sh("docker", *args, **more).strip()


def answers(*args):
    return shutil.which(args[0]) and subprocess.run(args, capture_output=True, check=False).returncode == 0


def compose_command():
    """docker-compose or docker compose, whichever is here; None if none is."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if answers(*command, "version"):
            return command
    return None


def why_not():
    """What is missing here, or None."""
    if not answers("docker", "info"):
        return "needs a Docker engine, and none answers here (docker info)"
    if not compose_command():
        return "needs docker-compose, or Docker's compose plugin"
    if not answers("docker", "image", "inspect", REDIS_IMAGE) and not answers("docker", "pull", REDIS_IMAGE):
        return f"needs the image {REDIS_IMAGE} (or another Redis or Valkey in REDIS_IMAGE), and cannot pull it"
    return None


class Stack(Assay):
    """One stack. It is a client of its API, as harness.assay.Assay is of a server's."""

    def __init__(self, name, *overrides, folder=PROJECT, **settings):
        # not a process of ours, so nothing of Assay's own life
        self.name = f"assay-test-{os.getpid()}-{name}"
        self.folder = str(folder)
        self.port, self.monitor_port = free_port(), free_port()
        self.files = [arg for part in ("", *overrides)
                      for arg in ("-f", os.path.join(self.folder, "docker-compose" + (part and "." + part) + ".yml"))]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "COMPOSE_"))}
        self.env.update(API_PORT=str(self.port), MONITOR_PORT=str(self.monitor_port), SERVICE_IMAGE=IMAGE,
                        REDIS_IMAGE=REDIS_IMAGE, **settings)

    def compose(self, *args, **more):
        return sh(*compose_command(), "-p", self.name, *self.files, *args, cwd=self.folder, env=self.env, **more)

    def up(self, *args, within=120):
        self.compose("up", "-d", *args, within=within)
        self.wait_ready(20)
        return self

    def down(self, volumes=True):
        def is_down():    # the engine may hold a network for used although its containers are gone
            try:
                return self.compose("down", *(["-v"] if volumes else [])) is not None
            except AssertionError as error:
                if "has active endpoints" not in str(error):
                    raise
                return False
        eventually(is_down, 20, "the networks are removed")

    def wait_ready(self, within=20):
        def ready():
            try:
                return self.get("/readyz", timeout=5).status == 200
            except (OSError, http.client.HTTPException):
                return False
        eventually(ready, within, "the API is ready")

    # --- its containers

    def containers(self, service):
        return sorted(docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}",
                             "--filter", f"label=com.docker.compose.service={service}").split())

    def container(self, service):
        [one] = self.containers(service)
        return one

    def state(self, container, field=".State.Health.Status"):
        return docker("inspect", "-f", "{{%s}}" % field, container)

    def wait_healthy(self, container, within=20):
        eventually(lambda: self.state(container) == "healthy", within, f"{container} is healthy")

    def log(self, container=None):
        if container:
            return docker("logs", container)
        return self.compose("logs", "--no-color", "--tail", "60", check=False)

    def counted(self):
        """{state: assets} as the store counts them."""
        text = self.get("/metrics").body.decode()
        return {state: int(float(n)) for state, n in re.findall(r'^assay_assets{state="(\w+)"} (\S+)$', text, re.M)}


OPEN = []    # whose logs are shown when a test fails


def opened(stack):
    OPEN.append(stack)
    return stack


def closed(stack):
    OPEN.remove(stack)
    stack.down()


class DockerSink(Sink):
    """A receiver on this machine that containers reach as host.docker.internal."""

    def __init__(self):
        host = docker("run", "--rm", "--add-host", "host.docker.internal:host-gateway", "--entrypoint", "getent",
                      REDIS_IMAGE, "hosts", "host.docker.internal").split()[0]
        try:
            super().__init__(host)
        except OSError:    # an engine in a machine of its own, which passes this name on to our loopback
            super().__init__()

    def url(self, *what, host="host.docker.internal"):
        return super().url(*what, host=host)


PATHS = (("images/good.jpg", "success"), ("images/text.jpg", "failed"), ("images/foo", "success"),
         ("images/missing.jpg", "failed"), ("images/too-big.jpg", "failed"))


class Client(threading.Thread):
    """Posts assets one after another and keeps what was answered 202: n of them, or until over is set."""

    def __init__(self, stack, sink, over=None, n=None):
        super().__init__(daemon=True)
        self.stack, self.sink, self.n = stack, sink, n
        self.over = over or threading.Event()
        self.ledger, self.strange, self.refused = {}, [], 0

    def run(self):
        i = 0
        while not self.over.wait(0.03 if self.n is None else 0) and (self.n is None or len(self.ledger) < self.n):
            path, state = PATHS[i % len(PATHS)]
            i += 1
            try:
                answer = self.stack.post(asset_body(path, **self.sink.all()), timeout=30)
            except (OSError, http.client.HTTPException):    # an api that is being started again
                self.refused += 1
                continue
            if answer.status == 202:
                self.ledger[answer.json["id"]] = state
            elif answer.status == 503 and answer.headers.get("retry-after"):
                self.refused += 1
            else:
                self.strange.append(answer)


def post(stack, sink, n, clients=6):
    threads = [Client(stack, sink, n=n // clients + (i < n % clients)) for i in range(clients)]
    for thread in threads:
        thread.start()
    return accepted(threads)


def under_load(stack, sink, what, clients=3):
    """Do what() while clients post; what they were promised."""
    over = threading.Event()
    threads = [Client(stack, sink, over) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        what()
    finally:
        over.set()
        ledger = accepted(threads)
    print(f"{len(ledger)} accepted, {sum(t.refused for t in threads)} refused and tried again")
    return ledger


def check_all(stack, sink, ledger, within=30):
    """Nothing is lost: each has one ending, the right one, told under one id, and started was told before.
    {id: asset} of all that there are."""
    def all_told():
        return all(any(a.state != "started" for a in sink.by_id[i]) for i in ledger)
    try:
        sink.until(all_told, within, f"{len(ledger)} endings")
    except AssertionError:
        missing = [i for i in ledger if not any(a.state != "started" for a in sink.of(i))]
        raise AssertionError(f"{len(missing)} endings were not told: "
                             f"{[stack.asset(i) for i in missing[:3]]}") from None
    stored = {asset["id"]: asset for asset in stack.all_assets()}
    for asset_id, state in ledger.items():
        assert stored[asset_id]["state"] == state and stored[asset_id]["run"] == 1, stored[asset_id]
        check_told(sink, asset_id, state)
    eventually(lambda: stack.counted()["queued"] + stack.counted()["started"] == 0, 10, "all has ended")
    return stored


def log_events(text, event):
    return len(re.findall(rf"\bevent={event}\b", text))
