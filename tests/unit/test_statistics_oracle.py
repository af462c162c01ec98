"""Our statistics against SciPy's, on ten thousand random cases: equal to 1e-9."""

from __future__ import annotations

import math
import random

import pytest
from scipy import special, stats

from chaoskit.slos import statistics as ours

CASES = 2_000  # of each of five
CLOSE = 1e-9


def test_clopper_pearson_is_scipys() -> None:
    rng = random.Random(1)
    for _ in range(CASES):
        n = int(10 ** rng.uniform(0, 5))
        k = rng.choice([0, n, rng.randint(0, n), min(n, rng.randint(0, 20))])
        low, high = ours.clopper_pearson(k, n, confidence := rng.choice([0.9, 0.95, 0.99]))
        tail = (1 - confidence) / 2
        assert low == pytest.approx(0.0 if k == 0 else special.betaincinv(k, n - k + 1, tail), abs=CLOSE)
        assert high == pytest.approx(1.0 if k == n else special.betaincinv(k + 1, n - k, 1 - tail), abs=CLOSE)


def test_binomial_tails_are_scipys() -> None:
    rng = random.Random(2)
    for _ in range(CASES):
        n = int(10 ** rng.uniform(0, 6))
        p = 10 ** rng.uniform(-5, -0.01)
        k = max(0, min(n, round(n * p + rng.gauss(0, 2) * math.sqrt(n * p * (1 - p)))))
        assert ours.binomial_cdf(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), abs=CLOSE)
        assert ours.binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), abs=CLOSE)


def test_fishers_exact_test_is_scipys() -> None:
    rng = random.Random(3)
    for _ in range(CASES):
        n, of = int(10 ** rng.uniform(0, 5)), int(10 ** rng.uniform(0, 5))
        p = 10 ** rng.uniform(-4, -0.1)
        k = min(n, round(n * p * rng.uniform(0, 3)))
        others = min(of, round(of * p * rng.uniform(0, 3)))
        # The hypergeometric tail is the definition of the test.
        assert ours.fisher_greater(k, n, others, of) == pytest.approx(
            stats.hypergeom.sf(k - 1, n + of, k + others, n), abs=CLOSE
        ), (k, n, others, of)


def test_chi_square_is_scipys() -> None:
    rng = random.Random(4)
    for _ in range(CASES):
        n = rng.randint(2, 60)
        counts = [rng.randint(0, 500) for _ in range(n)]
        expected = [sum(counts) / n] * n if sum(counts) else [1.0] * n
        statistic, p = ours.chi_square(counts, expected)
        x = sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))
        assert statistic == pytest.approx(x, rel=CLOSE)
        assert p == pytest.approx(stats.chi2.sf(x, n - 1), abs=CLOSE)
        spread = rng.uniform(0, 3 * n)
        assert ours.gamma_tail((n - 1) / 2, spread / 2) == pytest.approx(stats.chi2.sf(spread, n - 1), abs=CLOSE)


def test_the_e_value_and_the_ranks_of_a_percentile_are_scipys() -> None:
    rng = random.Random(5)
    for _ in range(CASES):
        n = int(10 ** rng.uniform(0, 5))
        p = 10 ** rng.uniform(-4, -0.5)
        k = min(n, round(n * p * rng.uniform(1, 3)))
        if k > n * p:
            log_e = (
                special.betaln(k + 0.5, n - k + 0.5)
                - special.betaln(0.5, 0.5)
                - k * math.log(p)
                - (n - k) * math.log1p(-p)
            )
            assert math.log(ours.evidence_of_more(k, n, p)) == pytest.approx(min(log_e, 700.0), abs=1e-7, rel=CLOSE)
        q = rng.choice([0.5, 0.9, 0.95, 0.99])
        low, high = ours.quantile_ranks(n, q)
        assert low == 0 or stats.binom.cdf(low - 1, n, q) <= 0.025 + CLOSE
        assert stats.binom.cdf(low, n, q) > 0.025 - CLOSE
        assert high is None or stats.binom.cdf(high - 1, n, q) >= 0.975 - CLOSE


def test_fisher_against_the_table_form() -> None:
    for table in [(5, 200, 1, 1000), (0, 50, 3, 500), (10, 10, 0, 10), (3, 300, 3, 300)]:
        k, n, others, of = table
        wanted = stats.fisher_exact([[k, n - k], [others, of - others]], alternative="greater").pvalue
        assert ours.fisher_greater(k, n, others, of) == pytest.approx(wanted, abs=CLOSE)


def test_a_margin_is_granted_to_the_others() -> None:
    assert ours.fisher_with_margin(20, 1000, 0, 1000, 0.0) < 1e-5
    assert ours.fisher_with_margin(20, 1000, 0, 1000, 0.02) > 0.4
    assert ours.fisher_with_margin(20, 1000, 0, 1000, 1.0) == 1.0


@pytest.mark.parametrize(("target", "needed"), [(0.99, 299), (0.995, 598), (0.999, 2995), (0.9999, 29956)])
def test_the_rule_of_three(target: float, needed: int) -> None:
    assert ours.samples_for_confidence(target, 0.95) == needed
    assert ours.one_sided(needed, needed)[0] >= target > ours.one_sided(needed - 1, needed - 1)[0]
