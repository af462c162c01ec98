"""What verdicts are worth: how often PASS and FAIL are wrong, on simulated runs whose truth is known; and how often an early stop is a false alarm.

    python benchmarks/verdicts.py [--runs 2000]

A run is a History with its baseline and its fault window, judged as any other by `availability >= 99.9% with confidence 95%`; beside it the
verdict without a confidence, which speaks of the run alone and is a coin flip about the service. Wanted: of a service at 99.8 % at most 5 %
PASS at n = 300, 1,000, 3,000 and 10,000; of one at 99.99 % at least 95 % PASS at n = 10,000; of one at 99 % at least 99 % FAIL at n = 3,000;
and at most 2 % false alarms of an early stop that is looked at 20 times.
"""

from __future__ import annotations

import argparse
import random
import sys
from array import array

from chaoskit.model.history import History
from chaoskit.model.requests import STRING_COLUMNS, Requests
from chaoskit.model.verdict import Grade
from chaoskit.slos import parse_slo
from chaoskit.slos.judging import judged
from chaoskit.slos.statistics import evidence_of_more
from tests.histories import Told, kill, window

SLO = parse_slo("availability >= 99.9% with confidence 95%")
PLAIN = parse_slo("availability >= 99.9%")
CASES = [
    (0.998, 300, Grade.PASS, "<=", 0.05),
    (0.998, 1_000, Grade.PASS, "<=", 0.05),
    (0.998, 3_000, Grade.PASS, "<=", 0.05),
    (0.998, 10_000, Grade.PASS, "<=", 0.05),
    (0.9999, 10_000, Grade.PASS, ">=", 0.95),
    (0.99, 3_000, Grade.FAIL, ">=", 0.99),
]


def history_of(n: int, failed: list[int]) -> History:
    """n requests in the fault window from 10 to 20 s, of which those at these places failed."""
    told = Told(rate=None).phases(baseline=0, inject=10, revert=20, settle=20, ended=30).done_and_seen(10, kill("a"))
    history = told.history()
    step = 10_000_000_000 // n
    intended = array("q", range(10_000_000_000, 10_000_000_000 + n * step, step))
    zeros = array("H", bytes(2 * n))
    requests = Requests(
        seq=array("q", range(n)),
        intended_ns=intended,
        start_ns=intended[:],
        end_ns=array("q", (t + 2_000_000 for t in intended)),
        status=array("H", [200]) * n,
        uses=array("H", [1]) * n,
        **dict.fromkeys(STRING_COLUMNS, zeros[:]),  # type: ignore[arg-type]
    )
    for place in failed:
        requests.status[place] = 503
    history.requests = requests
    return history


def failures(rng: random.Random, n: int, p: float) -> list[int]:
    """The places of failures, each with that chance."""
    return [i for i in range(n) if rng.random() < p]


def share(truth: float, n: int, grade: Grade, runs: int) -> tuple[float, float]:
    """How often the grade came, with the confidence and without."""
    rng = random.Random(f"{truth}/{n}")
    sure = plain = 0
    for _ in range(runs):
        history = history_of(n, failures(rng, n, 1 - truth))
        sure += judged(SLO, history, window("fault", 10, 20)).grade is grade
        plain += judged(PLAIN, history, window("fault", 10, 20)).grade is grade
    return sure / runs, plain / runs


def false_alarms(runs: int, looks: int = 20, each: int = 500, p: float = 0.001) -> float:
    """How often an e-value of 20 is reached at one of the looks though the rate is what is allowed."""
    rng = random.Random(20)
    alarms = 0
    for _ in range(runs):
        failed = 0
        for look in range(1, looks + 1):
            failed += sum(rng.random() < p for _ in range(each))
            if evidence_of_more(failed, look * each, p) >= 20:
                alarms += 1
                break
    return alarms / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    met = True
    print("truth      n      grade  with confidence  without   wanted")
    for truth, n, grade, sign, limit in CASES:
        sure, plain = share(truth, n, grade, runs)
        met &= sure <= limit if sign == "<=" else sure >= limit
        print(f"{truth:7.2%}  {n:6}  {grade.name:5}  {sure:15.2%}  {plain:7.1%}  {sign} {limit:.0%}", flush=True)
    alarms = false_alarms(runs)
    met &= alarms <= 0.02
    print(f"early stop, 20 looks: {alarms:.2%} false alarms, wanted <= 2%")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
