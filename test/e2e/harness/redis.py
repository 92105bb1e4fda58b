"""A Redis of the tests' own on loopback, as durable as in production, and the parts that share it."""
import os
import resource
import shutil
import signal
import socket
import subprocess

from harness import assay as program
from harness.assay import Assay, environment, free_port
from harness.deadline import eventually

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")

LEASE_S = 2
SCHEDULE = ("--webhook-schedule", "100ms,200ms,300ms,1s,1s,1s")


class Redis:
    def __init__(self, folder, *settings):
        self.folder = str(folder)
        self.port = free_port()
        self.settings = settings
        self.process = None
        os.makedirs(self.folder, exist_ok=True)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder,
                 "--appendonly", "yes", "--appendfsync", "always", "--save", "", *self.settings],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), restore_signals=False)
        eventually(self._answers, 10, "Redis answers")
        return self

    def _answers(self):
        try:
            return self.ask("PING")[:6] in ("PONG", "NOAUTH")
        except OSError:
            return False

    def ask(self, *words):
        """One command; its answer, when that is one line or one text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s, s.makefile("rwb") as f:
            f.write(b"*%d\r\n" % len(words))
            for word in words:
                data = str(word).encode()
                f.write(b"$%d\r\n%s\r\n" % (len(data), data))
            f.flush()
            line = f.readline().rstrip(b"\r\n").decode()
            if line[:1] == "$":
                return None if line == "$-1" else f.read(int(line[1:])).decode()
            return line[1:]

    def signal(self, number):
        self.process.send_signal(number)

    def let_files_grow(self, most=resource.RLIM_INFINITY):
        """As a full disk does it: no write goes beyond so many bytes of a file."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def kill(self):
        """kill -9, as a loss of power would be with appendfsync always."""
        if self.process is not None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
            self.process.wait()


class Part(Assay):
    """assay api, worker or monitor."""

    def __init__(self, what, folder, root, store, *flags, **more):
        super().__init__(folder, root, *flags, store=store, **more)
        self.what = what

    def command(self):
        listen = {"api": "--listen", "worker": "--health-listen", "monitor": "--monitor-listen"}[self.what]
        root = [] if self.what == "api" else ["--root", self.root]
        return [program.BINARY, self.what, listen, f"127.0.0.1:{self.port}", "--store", self.store, *root,
                *self.flags]

    def wait_ready(self, within=20):
        if self.what != "monitor":
            super().wait_ready(within)
            return
        eventually(lambda: self.listens(), within, "the monitor listens")

    def listens(self):
        assert self.is_running(), self.log()[-3000:]
        try:
            return self.get("/healthcheck", timeout=5).status == 200
        except OSError:
            return False


class Fleet:
    """One Redis and the processes that share it."""

    def __init__(self, servers, tmp_path_factory, *settings):
        self.servers, self.folders = servers, tmp_path_factory
        self.redis = Redis(tmp_path_factory.mktemp("redis"), *settings).start()
        self.workers = []

    def part(self, what, *flags, **more):
        return self.new_part(what, *flags, **more).start()

    def new_part(self, what, *flags, **more):
        return self.servers.add(Part(what, self.servers.folder_of(), self.servers.images, self.redis.url, *flags,
                                     **more))

    def worker(self, *flags):
        worker = self.part("worker", "--workers", "2", "--lease", f"{LEASE_S}s", *SCHEDULE, *flags)
        self.workers.append(worker)
        return worker
