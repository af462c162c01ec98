"""Our statistics against SciPy, on random cases and at the edges."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from chaoskit.slos.statistics import (
    beta_cdf,
    binomial_cdf,
    binomial_tail,
    clopper_pearson,
    quantile,
    quantile_interval,
    quantile_ranks,
    samples_for_quantile,
    samples_for_ratio,
)


def close(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)


def test_the_incomplete_beta_function_agrees_with_scipy_on_2000_random_cases() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        a, b, x = rng.uniform(0.5, 5000), rng.uniform(0.5, 5000), rng.random()
        assert close(beta_cdf(x, a, b), float(stats.beta.cdf(x, a, b))), (x, a, b)


def test_clopper_pearson_agrees_with_scipy_on_random_cases() -> None:
    rng = random.Random(2)
    for _ in range(500):
        n = rng.choice([rng.randint(1, 50), rng.randint(50, 5000), rng.randint(5000, 200_000)])
        k = rng.choice([0, n, rng.randint(0, n), round(n * 0.99)])
        confidence = rng.choice([0.9, 0.95, 0.99])
        theirs = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
        low, high = clopper_pearson(k, n, confidence)
        assert close(low, theirs.low), (k, n, confidence)
        assert close(high, theirs.high), (k, n, confidence)


def test_of_no_samples_everything_is_possible() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_binomial_tails_agree_with_scipy_on_2000_random_cases() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        n, p = rng.randint(1, 3000), rng.random()
        k = min(n, max(0, round(rng.gauss(n * p, 3 * math.sqrt(n * p * (1 - p)) + 1))))
        assert close(binomial_tail(k, n, p), float(stats.binom.sf(k - 1, n, p))), (k, n, p)
        assert close(binomial_cdf(k, n, p), float(stats.binom.cdf(k, n, p))), (k, n, p)


def test_binomial_tails_at_the_edges() -> None:
    assert binomial_tail(0, 10, 0.3) == 1.0
    assert binomial_tail(11, 10, 0.3) == 0.0
    assert binomial_tail(1, 10, 0.0) == 0.0
    assert binomial_cdf(-1, 10, 0.3) == 0.0
    assert binomial_cdf(10, 10, 0.3) == 1.0


def test_quantiles_are_type_7_like_scipy() -> None:
    rng = random.Random(4)
    for _ in range(300):
        values = sorted(rng.random() for _ in range(rng.randint(1, 200)))
        q = rng.random()
        assert close(quantile(values, q), float(stats.mstats.mquantiles(values, [q], alphap=1, betap=1)[0]))


def test_a_quantile_that_touches_an_infinite_value_is_infinite() -> None:
    assert quantile([1.0, 2.0, math.inf], 0.75) == math.inf
    assert quantile([1.0, 2.0, math.inf], 0.5) == 2.0


def test_the_interval_of_a_quantile_has_the_confidence_it_claims_and_agrees_with_scipy() -> None:
    rng = random.Random(5)
    for _ in range(200):
        n, q = rng.randint(5, 3000), rng.choice([0.5, 0.9, 0.95, 0.99])
        low, high = quantile_ranks(n, q)
        below = float(stats.binom.cdf(low - 1, n, q)) if low else 0.0
        above = 1.0 if high is None else float(stats.binom.cdf(high - 1, n, q))
        assert below <= 0.025 + 1e-12
        assert above >= 0.975 - 1e-12
        if high is not None:
            assert float(stats.binom.cdf(high - 2, n, q)) < 0.975 + 1e-12  # one rank less would not do
        assert float(stats.binom.cdf(low, n, q)) > 0.025 - 1e-12  # nor one rank more


def test_a_high_percentile_of_few_values_has_no_upper_end() -> None:
    low, high = quantile_interval([float(i) for i in range(100)], 0.99)
    assert low <= 98.0
    assert high == math.inf


@pytest.mark.parametrize(("target", "n"), [(0.99, 100), (0.999, 1000), (0.9999, 10000), (0.5, 2), (1.0, 1), (0.0, 1)])
def test_the_samples_that_a_target_needs(target: float, n: int) -> None:
    assert samples_for_ratio(target) == n


def test_the_samples_that_a_percentile_needs() -> None:
    assert samples_for_quantile(0.95) == 20
    assert samples_for_quantile(0.999) == 1000
