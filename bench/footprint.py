"""The footprint: memory after work, and the time from start to ready."""
import os
import shutil
import time

from tools import Assay, Program, answer_of, asset_body, free_port, need, post_many, scratch, wait_for, PROJECT

ASSETS = int(os.environ.get("BENCH_ASSETS", "100000"))
SETTLE_S = 10
STARTS = 12
MIB = 1024 * 1024


def pad_jpeg(data, size):
    """The same picture in a file of exactly size bytes: comments (ITU-T T.81, COM) behind SOI."""
    missing = size - len(data)
    comments = b""
    while missing:
        take = min(missing, 65537)
        if 0 < missing - take < 4:    # a segment has at least 4 bytes
            take -= 4
        comments += b"\xff\xfe" + (take - 2).to_bytes(2, "big") + bytes(take - 4)
        missing -= take
    return data[:2] + comments + data[2:]


def pictures(folder):
    """A root with one small and one huge picture, both good."""
    root = os.path.join(folder, "root")
    os.makedirs(root)
    small = os.path.join(root, "small.jpg")
    shutil.copy(os.path.join(PROJECT, "images", "good.jpg"), small)
    with open(small, "rb") as f, open(os.path.join(root, "huge.jpg"), "wb") as out:
        out.write(pad_jpeg(f.read(), 32 * MIB))
    return root


def memory(table):
    """Leaves a store with ASSETS ended assets in folder; returns folder."""
    folder = scratch("memory")
    server = Assay(folder, root=pictures(folder)).wait_ready()
    try:
        fresh = server.pss_kib()
        begun = time.monotonic()
        small = asset_body("small.jpg")
        post_many(server.port, [asset_body("huge.jpg")])
        post_many(server.port, [small] * (ASSETS - 1))
        server.wait_ended(ASSETS, 120)
        took = time.monotonic() - begun
        time.sleep(SETTLE_S)
        after = server.pss_kib()
        largest = after.pop(server.process.pid)
        table.section(f"memory of assay server, {SETTLE_S} s after {ASSETS:,} assets have ended, one of 32 MiB among them")
        table.figures("all of its processes (sum of PSS), MiB", [(largest + sum(after.values())) / 1024], "{:.1f}", most=64)
        table.row("of which the server, its children, MiB",
                  f"{largest / 1024:9.1f}, {' '.join(f'{kib / 1024:.1f}' for kib in after.values())}")
        table.figures("when it was just started, MiB", [sum(fresh.values()) / 1024], "{:.1f}")
        table.figures("assets/s from post to ending, without webhooks", [ASSETS / took])
    finally:
        server.stop()
    return folder


def start_s(make, ready, folder):
    """Seconds from the start of a program until it answers. make(folder) returns it."""
    begun = time.monotonic()
    program = make(folder)
    wait_for(lambda: ready(program), 20, "it is ready", 0.0002)
    took = time.monotonic() - begun
    program.stop()
    return took


def redis(folder):
    port = free_port()
    program = Program(folder, need("redis-server"), "--port", port, "--bind", "127.0.0.1", "--dir", folder)
    program.port = port
    return program


def redis_ready(program):
    return answer_of(program.port, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n").startswith(b"+PONG")


def starts(table, full_folder):
    folder = scratch("start")
    times = {"redis": [], "empty": [], "full": []}
    for _ in range(STARTS):
        times["redis"].append(start_s(redis, redis_ready, folder))
        times["empty"].append(start_s(Assay, Assay.ready, scratch("start-empty")))
        if full_folder:
            times["full"].append(start_s(Assay, Assay.ready, full_folder))
    table.section(f"start until the first answer, {STARTS} times, interleaved")
    table.figures("redis-server, until PING is answered, ms", [s * 1000 for s in times["redis"]], "{:.1f}")
    names = {"empty": "a new store"}
    if full_folder:
        names["full"] = f"{ASSETS:,} assets stored"
    for key, name in names.items():
        table.figures(f"assay server, {name}, until /readyz, ms", [s * 1000 for s in times[key]], "{:.1f}")
    for key, name in names.items():
        table.figures(f"assay server, {name} / redis-server",
                      [a / r for a, r in zip(times[key], times["redis"])], "{:.2f}", most=1.0)


def run_memory(table):
    run_memory.folder = memory(table)


run_memory.folder = None


def run_start(table):
    need("redis-server")
    starts(table, run_memory.folder)
