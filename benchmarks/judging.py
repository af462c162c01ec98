"""Judging a run of a million requests from its folder: time, and the most memory. Wanted: at most 2 s and 250 MB.

    python benchmarks/judging.py [--requests N]

Writes a run folder as the traffic and the runner would, then judges it in a process of its own, as `chaoskit judge` does: reading the log and
the journal included, importing not.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

from chaoskit.model.event import Event, encode
from chaoskit.model.subject import subject_to_json
from chaoskit.traffic.log import HEADER_BYTES, MAGIC, RECORD, RECORD_BYTES
from tests.histories import Told, endpoint_slice, kill, pod

EXPERIMENT = """
apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {name: large}
spec:
  target: {namespace: shop, deployment: shop}
  traffic: {service: shop, rate: 10000/s}
  fault: {killPod: {}}
  slos:
    - availability: ">= 99%"
    - availability: ">= 98% with confidence 95%"
    - latency: "p99 < 300ms"
    - latency: "<= 250ms for 98%"
    - failed: "<= 20000"
    - recoveredWithin: 60s
    - longestOutage: "< 60s"
    - replicasRestored
    - onlyReadyEndpoints
"""

JUDGE = """
import sys, time
from pathlib import Path
import chaoskit.runner.judge as judge, chaoskit.slos as slos
for kind in slos.OWN: slos.load_slo(kind)
import chaoskit.experiments.kill_pod
began, cpu = time.perf_counter(), time.process_time()
history, verdict = judge.judge_folder(Path(sys.argv[1]))
took, cpu = time.perf_counter() - began, time.process_time() - cpu
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(f"{len(history.requests)} requests, {len(verdict.findings)} findings, {verdict.grade.name}: {took:.2f} s ({cpu:.2f} s CPU), {peak:.0f} MB at most")
for finding in verdict.findings: print(f"  {finding.grade.name:13} {finding.slo}: {finding.because[:110]}")
"""


def write_log(folder: Path, count: int) -> float:
    """Requests at 10,000/s as they end, 0.5 % of them failed while the fault is on. Returns how long the run lasted."""
    rng = random.Random(1)
    lasts = count / 10_000
    rows = []
    for i in range(count):
        intended = 1_000_000_000 + i * 100_000
        end = intended + round(rng.lognormvariate(15, 0.6))
        failed = 0.4 <= i / count < 0.6 and rng.random() < 0.005
        rows.append(
            (
                end,
                RECORD.pack(
                    i,
                    intended,
                    intended + 50_000,
                    end,
                    0 if failed else 200,
                    int(failed),
                    0 if failed else 1 + i % 3,
                    0,
                    0,
                    1,
                    1 + i % 2,
                    1,
                ),
            )
        )
    rows.sort()
    header = MAGIC + RECORD_BYTES.to_bytes(4, "little")
    (folder / "requests.bin").write_bytes(header.ljust(HEADER_BYTES, b"\0") + b"".join(row for _, row in rows))
    texts = [("error", 1, "refused.connect"), ("endpoint", 1, "GET /"), ("policy", 1, "fresh"), ("policy", 2, "reuse")]
    texts += [("pod", i, name) for i, name in enumerate("abc", 1)]
    lines = [f'{{"column": "{column}", "index": {i}, "value": "{value}"}}' for column, i, value in texts]
    (folder / "requests.strings.jsonl").write_text("\n".join(lines) + "\n")
    return lasts


def write_journal(folder: Path, lasts: float) -> None:
    at = [1 + lasts * part for part in (0.0, 0.4, 0.6, 0.6, 1.0)]
    told = Told().settled_shop(0.5)
    told.phases(**dict(zip(("baseline", "inject", "revert", "settle", "ended"), at, strict=True)))
    told.done_and_seen(at[1], kill("a")).gone("pods", at[1] + 0.2, pod("a")).see(
        "endpoints", at[1] + 0.1, endpoint_slice("b", "c")
    )
    told.see("pods", at[1] + 2, pod("d")).see("endpoints", at[1] + 2.1, endpoint_slice("b", "c", "d"))
    told.health(at[4] + 0.1, "run.ended", restored="yes", because="")
    traffic = {"rate": 10_000.0, "timeout": 2.0, "arrivals": "constant", "model": "open", "service": "shop"}
    told.events[0] = (-1.0, "planned", {"subject": subject_to_json(told.subject), "traffic": traffic})
    with (folder / "journal.jsonl").open("wb") as file:
        for seq, (t, kind, data) in enumerate(sorted(told.events, key=lambda event: event[0])):
            file.write(encode(Event(seq, round(t * 1e9), kind, data)))
    (folder / "experiment.yaml").write_text(EXPERIMENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    count = parser.parse_args().requests
    assert array("q").itemsize == 8
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_journal(folder, write_log(folder, count))
        for _ in range(3):
            subprocess.run([sys.executable, "-c", JUDGE, place], check=True)


if __name__ == "__main__":
    main()
