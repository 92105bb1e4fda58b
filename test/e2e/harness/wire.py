"""Bytes on a socket, exactly as written: for what no decent HTTP client would send."""
import socket
import time

from harness.client import Answer
from harness.deadline import patient


class Wire:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patient(5))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        self.over = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send all of data, or as much as the other side takes before it closes."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def _more(self, end):
        if self.over:
            return False
        self.socket.settimeout(max(0.01, end - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise AssertionError(f"no more bytes in time; so far {self.pending[:500]!r}") from None
        except ConnectionResetError:
            data = b""
        self.pending += data
        self.over = not data
        return bool(data)

    def peek(self):
        """What has come so far and was not read yet."""
        self.socket.settimeout(0.05)
        try:
            self.pending += self.socket.recv(65536)
        except socket.timeout:
            pass
        return self.pending

    def response(self, within=5, head=False):
        """The next response, or None when the connection ends before one. 100s are passed over."""
        end = time.monotonic() + patient(within)
        while b"\r\n\r\n" not in self.pending:
            if not self._more(end):
                assert not self.pending, f"half a response: {self.pending[:500]!r}"
                return None
        top, _, self.pending = self.pending.partition(b"\r\n\r\n")
        line, *fields = top.decode("latin-1").split("\r\n")
        version, status = line.split(" ")[:2]
        assert version == "HTTP/1.1", line
        if status.startswith("1"):
            return self.response(within, head)
        headers = [tuple(part.strip() for part in field.split(":", 1)) for field in fields]
        answer = Answer(int(status), headers, b"")
        length = 0 if head or status == "204" else int(answer.headers.get("content-length", 0))
        while len(self.pending) < length:
            assert self._more(end), f"the body ends early: {self.pending[:500]!r}"
        answer.body, self.pending = self.pending[:length], self.pending[length:]
        return answer

    def closed(self, within=5):
        """Whether the other side closes without another byte."""
        end = time.monotonic() + patient(within)
        while not self.over:
            self._more(end)
        return not self.pending
