"""Fixtures of the tests that run the compose stack on a Docker engine (`make test-compose`)."""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]

import stack as stacks    # noqa: E402


def pytest_configure(config):
    missing = stacks.why_not()
    if missing:
        pytest.exit(f"test-compose {missing}", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for stack in stacks.OPEN:
            report.sections.append((f"logs of {stack.name}", stack.log()[-12000:]))


@pytest.fixture(scope="session", autouse=True)
def no_image_stays():
    yield
    for image in (stacks.IMAGE, stacks.IMAGE + "-development"):
        subprocess.run(["docker", "rmi", image], capture_output=True, check=False)


@pytest.fixture(scope="session")
def sink():
    """The receiver of webhooks; each test takes URLs of its own from it."""
    sink = stacks.DockerSink()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def stack(request):
    """A stack that the tests of one file share; the file says in SETTINGS what is not as by default."""
    settings = getattr(request.module, "SETTINGS", {})
    stack = stacks.opened(stacks.Stack("scaled", **settings))
    yield stack
    stacks.closed(stack)
