"""Exact statistics of proportions and percentiles: Clopper-Pearson, order statistics, binomial tails. Standard library only; knows no requests.

Tested against SciPy. The incomplete beta function is Lentz's continued fraction (Numerical Recipes; Abramowitz and Stegun 26.5.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_TINY = 1e-300
_EPSILON = 1e-16


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for a, b > 0: the distribution function of Beta(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1.0))
    total = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _not_zero(1.0 + numerator * d)
            c = _not_zero(1.0 + numerator / c)
            change = c * d
            total *= change
        if abs(change - 1.0) < _EPSILON * 4:
            break
    return total


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p, by bisection to the last bit of a double."""
    return _bisect(lambda x: beta_cdf(x, a, b) < p)


def _bisect(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(1100):  # as many halvings as there are doubles between 0 and 1, at most
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided confidence interval of a proportion of which k of n were seen. Of nothing: (0, 1)."""
    if n == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else beta_quantile(tail, k, n - k + 1)
    high = 1.0 if k == n else beta_quantile(1 - tail, k + 1, n - k)
    return low, high


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X of n trials with chance p; exact for any n."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_cdf(1 - p, n - k, k + 1)


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X of n trials with chance p: how likely so many or more are by chance."""
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    return beta_cdf(p, k, n - k + 1)


def quantile(ordered: Sequence[float], q: float) -> float:
    """The type-7 quantile (linear between the two nearest ranks) of values in rising order; infinite as soon as an infinite rank takes part."""
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    part = at - low
    if part == 0.0 or low + 1 >= len(ordered):
        return ordered[low]
    first, second = ordered[low], ordered[low + 1]
    return second if math.isinf(second) else first + part * (second - first)


def quantile_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int | None]:
    """The ranks (from 1) of the order statistics between which the q-quantile lies with at least that confidence; None: above all n values.

    The number of values below the true quantile is binomial(n, q), so ranks l and u hold it with P(l <= X < u). Distribution-free.
    """
    tail = (1 - confidence) / 2
    low = _largest(n, lambda rank: binomial_cdf(rank - 1, n, q) <= tail)
    high = _largest(n, lambda rank: binomial_cdf(rank - 1, n, q) < 1 - tail) + 1
    return low, (high if high <= n else None)


def _largest(n: int, holds: Callable[[int], bool]) -> int:
    """The largest rank in 1..n for which a predicate that holds for small ranks does; 0 when it holds for none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def quantile_interval(ordered: Sequence[float], q: float, confidence: float = 0.95) -> tuple[float, float]:
    """The order-statistic confidence interval of a quantile; 0 or infinity where the values do not reach that far."""
    low, high = quantile_ranks(len(ordered), q, confidence)
    return (ordered[low - 1] if low else 0.0), (math.inf if high is None else ordered[high - 1])


def samples_for_ratio(target: float) -> int:
    """How many samples it takes for one bad one not to be more than 1 - target: 100 for 99 %. 1 for a target of 100 %."""
    return 1 if target >= 1 else max(1, math.ceil((1 - 1e-9) / (1 - target)))


def samples_for_quantile(q: float) -> int:
    """How many samples it takes for one of them to lie above the quantile."""
    return samples_for_ratio(q)
