"""What the sections of the benchmark share: programs that are started and always ended, what they cost,
the loads that are put on them, and the table of results."""
import atexit
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(HERE)
BUILD = os.path.join(PROJECT, os.environ.get("BUILD") or "build/release")
# Beneath build/, because that is on a real disk where /tmp often is memory.
SCRATCH = os.path.join(PROJECT, "build", "bench-scratch")
TICKS = os.sysconf("SC_CLK_TCK")


class Skip(Exception):
    """Why a section, or a row of it, cannot be measured here."""


def need(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise Skip(f"{program} is not installed")
    return path


def need_built(path):
    if not os.access(path, os.X_OK):
        raise Skip(f"{os.path.relpath(path, PROJECT)} is not built")
    return path


def scratch(name):
    """An empty folder of this name."""
    folder = os.path.join(SCRATCH, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def environment(keep=None):
    """Ours without anything that would be taken as a setting, but for the variable to keep."""
    return {name: value for name, value in os.environ.items() if name == keep or
            not name.startswith(("ASSAY_", "MAKE")) and not name.lower().endswith("_proxy")}


def free_port():
    """Outside the range from which the kernel takes ports for clients, so that it stays free."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


# --- programs

running = []


class Program:
    def __init__(self, folder, *command):
        self.folder, self.command = folder, [str(word) for word in command]
        self.log_path = os.path.join(folder, os.path.basename(self.command[0]) + ".log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=folder, env=environment(), stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        running.append(self)

    def tree(self):
        """The process ids of the program and all that descends from it."""
        parents = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                parents[int(name)] = int(fields[1])
        mine = {self.process.pid}
        while more := {pid for pid, up in parents.items() if up in mine and pid not in mine}:
            mine |= more
        return mine

    def cpu_s(self):
        """Processor time that all threads of the tree have used, and its processes that were reaped."""
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
                total += sum(int(field) for field in fields[11:15])
            except OSError:
                pass
        return total / TICKS

    def pss_kib(self):
        """{process id: memory of its own and its share of what it shares, KiB}"""
        found = {}
        for pid in self.tree():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                found[pid] = int(re.search(r"^Pss: +(\d+)", f.read(), re.MULTILINE).group(1))
        return found

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        if self in running:
            running.remove(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()


def end_all():
    for program in list(running):
        running.remove(program)
        program.kill()


@atexit.register
def leave_nothing():
    end_all()
    shutil.rmtree(SCRATCH, ignore_errors=True)


def wait_for(condition, within_s, what, pause_s=0.0005):
    end = time.monotonic() + within_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Skip(f"gave up after {within_s} s: {what}")
        time.sleep(pause_s)


def answer_of(port, request, within_s=5):
    """All that is answered to the request on a connection of its own, or b"" while nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within_s) as s:
            s.sendall(request)
            data = b""
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return data
                data += more
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", data)
            whole = data.index(b"\r\n\r\n") + 4 + (int(length.group(1)) if length else 0)
            while len(data) < whole:
                more = s.recv(65536)
                if not more:
                    return data
                data += more
            return data
    except OSError:
        return b""


def get(port, path):
    return answer_of(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())


class Assay(Program):
    """`assay server` as it comes, but for its ports, its store's folder and the flags given."""
    def __init__(self, folder, *flags, root=None):
        self.port, self.monitor_port = free_port(), free_port()
        super().__init__(folder, need_built(os.path.join(BUILD, "assay")), "server",
                         "--listen", f"127.0.0.1:{self.port}",
                         "--monitor-listen", f"127.0.0.1:{self.monitor_port}",
                         "--store", f"sqlite:{folder}/store/assay.db", "--root", root or folder, *flags)

    def ready(self):
        if self.process.poll() is not None:
            raise Skip(f"assay server ended at its start: {self.log()[-500:]}")
        return get(self.port, "/readyz").startswith(b"HTTP/1.1 200")

    def wait_ready(self):
        wait_for(self.ready, 20, "assay server is ready")
        return self

    def figures(self):
        """What the monitor's page counts, by name: {"accepted": 5, "queue depth": 0, …}."""
        page = get(self.monitor_port, "/").decode()
        words = [word.strip().lower() for word in re.split(r"<[^>]*>", page) if word.strip()]
        return {name: int(n) for name, n in zip(words, words[1:]) if n.isdigit()}

    def wait_ended(self, n, within_s):
        """Until n assets have ended in success; anything else is a fault of the benchmark."""
        def ended():
            now = self.figures()
            if now["failed"]:
                raise Skip(f"{now['failed']} good assets failed")
            return now["success"] >= n
        wait_for(ended, within_s, f"{n} assets have ended", 0.02)


def nginx(folder, workers, *server_lines):
    """nginx with one server on a free port; its Program, with .port."""
    port = free_port()
    lines = "\n        ".join(server_lines)
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"""
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {lines}
    }}
}}
""")
    program = Program(folder, need("nginx"), "-p", folder, "-c", path, "-e", f"{folder}/error.log")
    program.port = port
    wait_for(lambda: get(port, "/"), 10, "nginx answers")
    return program


# --- loads

def wrk(port, connections, seconds, script="post.lua", path="/assets/image"):
    """One run; what wrk counted (see post.lua), with "rate" a second."""
    seed = f"{random.randrange(16 ** 6):06x}"
    out = subprocess.run([need("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s",
                          os.path.join(HERE, script), f"http://127.0.0.1:{port}{path}", "--", seed],
                         capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    counted = json.loads(out.strip().splitlines()[-1])
    counted["rate"] = counted["requests"] * 1e6 / counted["us"]
    return counted


def asset_body(path, webhooks=None):
    body = {"assetPath": {"location": "local", "path": path}}
    if webhooks:
        body["notifications"] = {name: f"{webhooks}/{name}" for name in ("onStart", "onSuccess", "onFailure")}
    return json.dumps(body, separators=(",", ":")).encode()


def post_request(port, body):
    return (f"POST /assets/image HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def post_batch(links, port, bodies):
    """Share the bodies out over the connections, pipelined, and wait for every 202."""
    shares = [bodies[i::len(links)] for i in range(len(links))]
    for link, share in zip(links, shares):
        link.sendall(b"".join(post_request(port, body) for body in share))
    for link, share in zip(links, shares):
        data = b""
        while data.count(b'"queued"}') < len(share):
            more = link.recv(65536)
            data += more
            if not more or b"HTTP/1.1 4" in data or b"HTTP/1.1 5" in data:
                raise Skip(f"an asset was not accepted: {data[-300:]!r}")


def post_many(port, bodies, connections=32, pipelined=16):
    """Post every body; Skip if one is not accepted. Pipelined, so that Python is quick enough."""
    at_once = connections * pipelined
    for start in range(0, len(bodies), 32 * at_once):    # the server ends a connection after 1000 requests
        links = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(connections)]
        for i in range(start, min(start + 32 * at_once, len(bodies)), at_once):
            post_batch(links, port, bodies[i:min(i + at_once, start + 32 * at_once)])
        for link in links:
            link.close()


# --- results

def median_range(values, form="{:,.0f}"):
    values = list(values)
    show = form.format
    return (f"{show(statistics.median(values)):>9} "
            f"[{show(min(values))}-{show(max(values))}]")


class Table:
    """Rows, printed as they come, and whether all goals were reached."""
    def __init__(self):
        self.missed = 0

    @staticmethod
    def section(title):
        print(f"\n{title}", flush=True)

    @staticmethod
    def row(name, figure, verdict=""):
        print(f"  {name:<52} {figure:<34} {verdict}".rstrip(), flush=True)

    def skip(self, name, why):
        self.row(name, "skipped", str(why))

    def figures(self, name, values, form="{:,.0f}", least=None, most=None, aim=None):
        """The median and range of values; least or most: the goal of the median."""
        middle = statistics.median(values)
        verdict = ""
        if least is not None or most is not None:
            at_least = least is not None
            sign, goal = ("≥", least) if at_least else ("≤", most)
            reached = middle >= goal if at_least else middle <= goal
            verdict = ("pass" if reached else "MISS") + f"  goal {sign} {form.format(goal).strip()}"
            if aim is not None:
                verdict += f", aim {form.format(aim).strip()}" + (" too" if middle >= aim else "")
            self.missed += not reached
        self.row(name, median_range(values, form), verdict)
