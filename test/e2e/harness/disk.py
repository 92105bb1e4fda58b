"""A disk of 4 MiB, which is soon full."""
import contextlib
import os
import subprocess

import pytest


@contextlib.contextmanager
def small(folder):
    """A folder on it, as a context; the test is skipped where none can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)],
                           capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(disk, leave):
    """Fill it with a file, down to so many bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(disk / "ballast", "wb") as ballast:
        ballast.write(bytes(max(0, free - leave)))
