"""The real server: started on free ports with a store of its own, watched, killed and started again."""
import json
import os
import random
import re
import signal
import socket
import subprocess
import time

from harness import client
from harness.deadline import eventually, patient

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BINARY = os.path.abspath(os.environ.get("ASSAY_BINARY") or os.path.join(PROJECT, "build", "assay"))
SANITIZER_REPORT = re.compile(
    rb"^.*(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:).*$", re.MULTILINE)
SAYS_READY = re.compile(rb'\bevent=ready\b|"event":"ready"')
STATES = ("queued", "started", "success", "failed")


def built_with_sanitizer():
    with open(BINARY, "rb") as f:
        data = f.read()
    return b"__asan_init" in data or b"__tsan_init" in data


def environment(extra=None):
    """Ours without anything that the program would take as a setting, and without proxies."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("ASSAY_") and not name.lower().endswith("_proxy")}
    env.update(extra or {})
    return env


GIVEN_PORTS = set()


def free_port():
    """Outside the range from which the kernel takes ports for clients, so that it stays free; never
    the same twice in one run."""
    while True:
        port = random.randrange(20000, 32000)
        if port in GIVEN_PORTS:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                GIVEN_PORTS.add(port)
                return port
            except OSError:
                pass


def alive(pid):
    """Whether there is such a process that has not ended (one that nobody has waited for has)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def run(*args, env=None, cwd=None, within=10):
    """A subcommand that ends by itself: its exit code, stdout and stderr."""
    return subprocess.run([BINARY, *args], env=environment(env), cwd=cwd, capture_output=True, text=True,
                          timeout=patient(within), check=False)


class Assay:
    def __init__(self, folder, root, *flags, env=None, store=None):
        self.folder = str(folder)
        self.root = str(root)
        self.port, self.monitor_port = free_port(), free_port()
        self.monitor_listen = f"127.0.0.1:{self.monitor_port}"
        self.store = store or f"sqlite:{self.folder}/store/assay.db"
        self.flags = list(flags)
        self.env = env or {}
        self.before = []    # a program that sets something and then runs what follows it
        self.process = None
        self.log_begin = 0    # of what the process that runs has said
        self.log_path = os.path.join(self.folder, "stderr")
        os.makedirs(self.folder, exist_ok=True)

    # --- its life

    def command(self):
        return [*self.before, BINARY, "server", "--listen", f"127.0.0.1:{self.port}",
                "--monitor-listen", self.monitor_listen,
                "--store", self.store, "--root", self.root, *self.flags]

    def start(self, ready=True):
        with open(self.log_path, "ab") as log:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(
                self.command(), env=environment(self.env), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, within=20):
        """It answers so, and its start is over: it has said that too."""
        tells = "--log-level" not in self.flags or self.flags[self.flags.index("--log-level") + 1] in ("debug", "info")

        def ready():
            code = self.process.poll()
            assert code is None, f"the server ended with {code} at its start:\n{self.log()[-3000:]}"
            try:
                answers = self.get("/readyz", timeout=5).status == 200
            except OSError:
                return False
            return answers and (not tells or self.says_ready())
        eventually(ready, within, "the server is ready")

    def says_ready(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_begin)
            return SAYS_READY.search(log.read())

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9 of every process at once, as a loss of power would."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def wait_exit(self, within):
        return self.process.wait(patient(within))

    def stop(self):
        """Drain and assert that it went well."""
        self.signal(signal.SIGTERM)
        code = self.wait_exit(25)
        assert code == 0, f"the drain ended with {code}:\n{self.log()[-3000:]}"

    def log(self):
        try:
            with open(self.log_path, "rb") as f:
                return f.read().decode("utf-8", "backslashreplace")
        except FileNotFoundError:
            return ""

    def sanitizer_report(self):
        found = SANITIZER_REPORT.search(self.log().encode())
        return found and self.log()[max(0, found.start() - 500):found.start() + 6000]

    # --- its processes

    def processes(self):
        """{pid: parent's pid} of the server and all that descends from it."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", "rb") as f:
                        fields = f.read().rpartition(b")")[2].split()
                except OSError:
                    continue
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
        mine = {self.process.pid: parents.get(self.process.pid)}
        while True:
            more = {pid: up for pid, up in parents.items() if up in mine and pid not in mine}
            if not more:
                return mine
            mine.update(more)

    def zygote(self):
        """The server's only child: it makes the jailed children."""
        [zygote] = [pid for pid, up in self.processes().items() if up == self.process.pid]
        return zygote

    def validators(self):
        """The jailed children."""
        server = self.process.pid
        return sorted(pid for pid, up in self.processes().items() if server not in (pid, up))

    # --- its interface

    def request(self, method, path, body=None, headers=None, **more):
        return client.request(self.port, method, path, body, headers, **more)

    def get(self, path, headers=None, **more):
        return self.request("GET", path, None, headers, **more)

    def post(self, body, content_type="application/json", path="/assets/image", headers=None, **more):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        fields = {"Content-Type": content_type} if content_type else {}
        return self.request("POST", path, body, {**fields, **(headers or {})}, **more)

    def submit(self, path, **notifications):
        """Post an asset that must be accepted; return its id."""
        answer = self.post(asset_body(path, **notifications))
        assert answer.status == 202, answer
        return answer.json["id"]

    def asset(self, asset_id):
        answer = self.get(f"/assets/{asset_id}")
        assert answer.status == 200, answer
        return answer.json

    def ended(self, asset_id, within=5):
        """Wait until the asset has ended, by asking; return it."""
        def check():
            asset = self.asset(asset_id)
            return asset if asset["state"] in ("success", "failed") else None
        return eventually(check, within, f"asset {asset_id} ends")

    def settled(self, asset_id, within=5):
        """Wait until the asset has ended and no delivery is under way any more; return it."""
        def check():
            asset = self.asset(asset_id)
            open_events = [d for d in deliveries(asset).values() if d["state"] in ("waiting", "pending")]
            return asset if asset["state"] in ("success", "failed") and not open_events else None
        return eventually(check, within, f"asset {asset_id} has ended and its webhooks are settled")

    def figures(self):
        """What the monitor's page counts, by name: {"accepted": 5, "queue depth": 0, …}."""
        page = client.request(self.monitor_port, "GET", "/")
        assert page.status == 200, page
        words = [word.strip().lower() for word in re.split(r"<[^>]*>", page.body.decode()) if word.strip()]
        return {name: int(n) for name, n in zip(words, words[1:]) if n.isdigit()}

    def all_assets(self, **query):
        """Every asset, newest first, page by page."""
        assets, after = [], None
        while True:
            asked = {"limit": 1000, **query, **({"after": after} if after else {})}
            page = self.get("/assets?" + "&".join(f"{k}={v}" for k, v in asked.items()))
            assert page.status == 200, page
            assets += page.json["assets"]
            after = page.json["next"]
            if after is None:
                return assets


def asset_body(path, **notifications):
    body = {"assetPath": {"location": "local", "path": path}}
    if notifications:
        body["notifications"] = notifications
    return body


def deliveries(asset):
    """What became of each notification's event, by notification; only of those that have one."""
    return {name: told for name, told in asset["notifications"].items() if told["state"] != "none"}
