"""Accepting: how many assets a second are taken in, each answered 202 only when it is durable.

Held against nginx answering as many bytes and doing nothing else (the ceiling), against our own loop
without storage, and against our own loop with a bare append log behind it. All run at the same time, one
is loaded at a time, in rounds, so that a noisy machine is noisy for all of them; the order changes from
round to round, and ratios are made within a round.
"""
import os
import statistics
import time

from tools import (Assay, Program, asset_body, answer_of, free_port, need, need_built, nginx,
                   post_request, scratch, wait_for, wrk, BUILD)

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = 3
CEILINGS = ("nginx, one worker", "nginx, workers auto")
DURABLE, LOG, NULL = "assay server, durable", "append log, durable", "no storage"
GOALS = {64: {"durable": 0.42, "aim": 0.50, "null": 0.70, "p99": 1.5},
         256: {"durable": 0.65, "aim": 0.75, "null": None, "p99": None}}


def rival(name, *args):
    port = free_port()
    program = Program(scratch(name), need_built(os.path.join(BUILD, "bench", name)), f"127.0.0.1:{port}", *args)
    program.port = port
    wait_for(lambda: answer_of(port, post_request(port, asset_body("x"))), 10, f"{name} answers")
    return program


def padded_nginx(name, workers, answer_len):
    """nginx whose answer has as many bytes in all as ours: answer_len."""
    body = '{"id":"0aaaaaa","state":"queued"}'

    def start(filler):
        return nginx(scratch(name), workers, f"return 202 '{body}{' ' * filler}';")

    plain = start(0)
    length = len(answer_of(plain.port, post_request(plain.port, asset_body("x"))))
    plain.stop()
    return start(max(0, answer_len - length))


def start_all():
    programs = {}
    # --workers 0: nothing but accepting. The queue grows over all rounds, as it does under such a load.
    server = Assay(scratch("durable"), "--workers", "0", "--max-queued", "100000000").wait_ready()
    answer_len = len(answer_of(server.port, post_request(server.port, asset_body("x"))))
    programs[CEILINGS[0]] = padded_nginx("nginx1", 1, answer_len)
    programs[CEILINGS[1]] = padded_nginx("nginx-auto", "auto", answer_len)
    programs[DURABLE] = server
    programs[LOG] = rival("http_log", "bodies.log")
    programs[NULL] = rival("http_null")
    return programs, answer_len


def measure(program, connections):
    time.sleep(0.2)    # let the one before finish what it does behind the scenes
    cpu_s = program.cpu_s()
    counted = wrk(program.port, connections, SECONDS)
    counted["cpu_us"] = (program.cpu_s() - cpu_s) * 1e6 / max(1, counted["requests"])
    return counted


def rounds(programs, connections):
    """{name: [what wrk counted in round 1, …]}"""
    for program in programs.values():
        wrk(program.port, connections, 1)    # warm
    found = {name: [] for name in programs}
    for i in range(ROUNDS):
        names = list(programs)
        names = names[i % len(names):] + names[:i % len(names)]
        for name in names:
            found[name].append(measure(programs[name], connections))
    return found


def ratios(found, name, other, what="rate"):
    return [a[what] / b[what] for a, b in zip(found[name], found[other])]


def report(table, found, connections):
    def rate(name):
        return statistics.median(run["rate"] for run in found[name])

    goal = GOALS[connections]
    ceiling = max(CEILINGS, key=rate)
    table.section(f"accept, {connections} connections: {ROUNDS} rounds of {SECONDS} s each, interleaved")
    for name, runs in found.items():
        table.figures(f"{name}{' (the ceiling)' if name == ceiling else ''}, answers/s", [r["rate"] for r in runs])
    table.figures("durable / ceiling", ratios(found, DURABLE, ceiling), "{:.2f}", least=goal["durable"], aim=goal["aim"])
    table.figures("append log / ceiling", ratios(found, LOG, ceiling), "{:.2f}")
    table.figures("no storage / ceiling", ratios(found, NULL, ceiling), "{:.2f}", least=goal["null"])
    for name in (ceiling, DURABLE, LOG):
        table.figures(f"p99 of {name}, ms", [r["p99"] / 1000 for r in found[name]], "{:.1f}")
    table.figures("p99 durable / append log", ratios(found, DURABLE, LOG, "p99"), "{:.2f}", most=goal["p99"])
    for name in (ceiling, NULL, LOG, DURABLE):
        table.figures(f"processor time of {name}, µs/answer", [r["cpu_us"] for r in found[name]], "{:.1f}")
    bad = sum(r["refused"] + r["lost"] for runs in found.values() for r in runs)
    table.figures("answers other than 202, and lost connections", [bad], most=0)


def run(table):
    need("wrk")
    need("nginx")
    programs, answer_len = start_all()
    server = programs[DURABLE]
    told = 0
    try:
        before = server.figures()["accepted"]
        for connections in GOALS:
            found = rounds(programs, connections)
            told += sum(r["requests"] for r in found[DURABLE])
            report(table, found, connections)
        stored = server.figures()["accepted"] - before
        # what wrk threw away: warming up, and what was under way at the end of each run
        table.row("202s counted, assets stored", f"{told:,}, {stored:,}", "pass" if stored >= told else "MISS")
        table.missed += stored < told
        table.row("answer, bytes", f"{answer_len}")
    finally:
        for program in programs.values():
            program.stop()
