"""Waiting for an event, with a deadline. Nothing here (or in any test) sleeps for a guessed time.

Deadlines in tests are what a quiet machine needs; they are stretched here for busy ones, and further
for sanitizer builds. A test that passes never waits for one of them to run out.
"""
import time

PATIENCE = 5.0


def stretch(factor):
    """Make every deadline from now on longer by this factor."""
    global PATIENCE
    PATIENCE *= factor


def patient(seconds):
    return seconds * PATIENCE


def eventually(check, within, why):
    """Ask check() until it gives something true, and return that. For what announces itself nowhere."""
    end = time.monotonic() + patient(within)
    pause = 0.002
    while True:
        last = check()
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(f"not within {patient(within):.0f} s: {why} (last: {last!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
