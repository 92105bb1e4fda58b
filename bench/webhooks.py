"""Delivery: one sender thread over a store that costs next to nothing, beside wrk at the same receiver."""
import json
import os
import statistics
import subprocess

from tools import BUILD, environment, free_port, need_built, nginx, scratch, wrk

ROUNDS = 3
ONE_ORIGIN, BACKLOG, HOSTS, HOLES = 60000, 10000, 100, 1000
PACE, PACE_S = 2000, 8


def send(*arguments):
    program = need_built(os.path.join(BUILD, "bench", "webhook_bench"))
    out = subprocess.run([program, *map(str, arguments)], env=environment(), stdout=subprocess.PIPE, text=True,
                         timeout=120, check=True).stdout
    counted = json.loads(out)
    counted["rate"] = counted["deliveries"] * 1e6 / counted["us"]
    return counted


def run(table):
    table.section("webhooks (one thread that sends, nginx answers 204)")
    port = free_port()
    receiver = nginx(scratch("webhooks"), 1, f"listen 0.0.0.0:{port} backlog=4096;",
                     "location / { return 204; }")
    rounds = []
    for _ in range(ROUNDS):
        rounds.append({"wrk": wrk(port, 64, 2, "webhook.lua", "/hook"),
                       "one": send("all", port, ONE_ORIGIN, 1),
                       "many": send("all", port, BACKLOG, HOSTS),
                       "long": send("all", port, 10 * BACKLOG, HOSTS),
                       "calm": send("pace", port, PACE, PACE_S, 0),
                       "holes": send("pace", port, PACE, PACE_S, HOLES)})
    receiver.stop()

    def ratio(name):
        return [r[name]["rate"] / r["wrk"]["rate"] for r in rounds]
    table.figures("wrk -c64, posts a second", [r["wrk"]["rate"] for r in rounds])
    table.figures("deliveries a second to one origin", [r["one"]["rate"] for r in rounds])
    table.figures("  of wrk's", ratio("one"), "{:.2f}", least=0.40)
    table.figures("  processor, us each", [r["one"]["cpu_us"] for r in rounds], "{:.1f}", most=25)
    table.figures(f"{BACKLOG:,} due for {HOSTS} hosts, a second", [r["many"]["rate"] for r in rounds])
    table.figures("  of wrk's", ratio("many"), "{:.2f}", least=0.30)
    table.figures("  processor, us each", [r["many"]["cpu_us"] for r in rounds], "{:.1f}")
    table.figures("  memory it takes, KiB", [r["many"]["kib"] for r in rounds])
    table.figures("  memory with ten times as many, KiB", [r["long"]["kib"] for r in rounds])
    for name, words in (("calm", f"{PACE} a second, p99 us"), ("holes", f"  beside {HOLES} black holes")):
        table.figures(words, [r[name]["p99_us"] for r in rounds])
    moved = statistics.median(r["holes"]["p99_us"] for r in rounds) / \
        statistics.median(r["calm"]["p99_us"] for r in rounds)
    table.figures("  p99 with them / without", [moved], "{:.2f}", most=1.10)
