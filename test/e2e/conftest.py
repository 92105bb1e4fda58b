"""Fixtures of the whole-system tests. ASSAY_BINARY names the program to test (else build/assay)."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import assay as program      # noqa: E402
from harness import deadline, disk, pictures    # noqa: E402
from harness.assay import Assay           # noqa: E402
from harness.sink import Sink             # noqa: E402
from harness.redis import Fleet           # noqa: E402

# Retries so soon that a test can wait for them; nothing else differs from what users get.
SCHEDULE = ("--webhook-schedule", "100ms,200ms,300ms")


def pytest_configure(config):
    if not os.access(program.BINARY, os.X_OK):
        pytest.exit(f"no program at {program.BINARY}: run `make build`, or set ASSAY_BINARY", 2)
    if program.built_with_sanitizer():
        deadline.stretch(4)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for server in item.session.stash.get(SERVERS, []):
            if server.log():
                report.sections.append((f"log of the server in {server.folder}", server.log()[-8000:]))


SERVERS = pytest.StashKey()


class Servers:
    """Starts servers for one test (or the whole run) and sees them off at its end."""

    def __init__(self, session, folder_of, images):
        self.session, self.folder_of, self.images = session, folder_of, images
        self.mine = []

    def new(self, *flags, schedule=SCHEDULE, root=None, **more):
        return self.add(Assay(self.folder_of(), root or self.images, *(schedule or ()), *flags, **more))

    def add(self, server):
        self.mine.append(server)
        self.session.stash.setdefault(SERVERS, []).append(server)
        return server

    def start(self, *flags, **more):
        return self.new(*flags, **more).start()

    def see_off(self, drain=False):
        reports = []
        for server in self.mine:
            if drain and server.is_running():
                server.stop()    # also so that a leak is reported
            server.kill()
            reports.append(server.sanitizer_report())
            self.session.stash[SERVERS].remove(server)
        assert not any(reports), "\n".join(filter(None, reports))


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The root of every server that is not told otherwise: see harness/pictures.py."""
    folder = tmp_path_factory.mktemp("root") / "images"
    folder.mkdir()
    pictures.fill(str(folder))
    return folder


@pytest.fixture(scope="session")
def session_servers(request, tmp_path_factory, images):
    servers = Servers(request.session, lambda: tmp_path_factory.mktemp("server"), images)
    yield servers
    servers.see_off(drain=True)


@pytest.fixture
def servers(request, tmp_path_factory, images):
    """Makes servers that this test has to itself."""
    servers = Servers(request.session, lambda: tmp_path_factory.mktemp("server"), images)
    yield servers
    servers.see_off()


@pytest.fixture
def fleet(servers, tmp_path_factory):
    """A Redis, and the processes that share it."""
    fleet = Fleet(servers, tmp_path_factory)
    yield fleet
    fleet.redis.kill()


@pytest.fixture(scope="module")
def module_servers(request, tmp_path_factory, images):
    """Makes servers that the tests of one file share."""
    servers = Servers(request.session, lambda: tmp_path_factory.mktemp("server"), images)
    yield servers
    servers.see_off(drain=True)


@pytest.fixture
def assay(session_servers):
    """A server that many tests share, so none may stop it."""
    if not session_servers.mine:
        session_servers.new("--workers", "2")
    server = session_servers.mine[0]
    if not server.is_running():
        server.start()
    yield server
    assert server.is_running(), f"the server died: exit {server.process.returncode}"
    assert not server.sanitizer_report(), server.sanitizer_report()


@pytest.fixture
def small_disk(tmp_path):
    """See harness/disk.py."""
    with disk.small(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def session_sink():
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def sink(session_sink):
    """The receiver of webhooks that all tests share; each test takes URLs of its own from it."""
    yield session_sink
    session_sink.release_all()


@pytest.fixture(scope="session")
def shared():
    """Test data that lie beside the project; None where they do not."""
    folder = os.environ.get("ASSAY_SHARED") or os.path.join(os.path.dirname(program.PROJECT), "shared")
    return folder if os.path.isdir(folder) else None
