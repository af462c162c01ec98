"""Exact statistics of proportions, percentiles and counts, and one test that may be looked at again and again. Standard library only; knows no requests.

Tested against SciPy. The incomplete beta and gamma functions are Lentz's continued fractions (Abramowitz and Stegun 26.5.8, 6.5.31); point
probabilities follow Loader, Fast and Accurate Computation of Binomial Probabilities, 2000, so that a million trials cost no digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

_TINY = 1e-300
_EPSILON = 1e-16


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for a, b > 0: the distribution function of Beta(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = a * b / (a + b) * _binomial_point(a, a + b, x, 1.0 - x)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _binomial_point(x: float, n: float, p: float, q: float) -> float:
    """C(n, x) p^x q^(n-x) with q = 1 - p; x and n need not be whole."""
    if p <= 0.0 or q <= 0.0:
        return 1.0 if x == (0.0 if p <= 0.0 else n) else 0.0
    if x == 0:
        return math.exp(n * math.log1p(-p))
    if x == n:
        return math.exp(n * math.log(p))
    part = (
        _stirling_error(n) - _stirling_error(x) - _stirling_error(n - x) - _deviance(x, n * p) - _deviance(n - x, n * q)
    )
    return math.exp(part) * math.sqrt(n / (2 * math.pi * x * (n - x)))


def _stirling_error(n: float) -> float:
    """log n! less Stirling's approximation of it."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    m = n * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / m) / m) / m) / m) / n


def _deviance(x: float, mean: float) -> float:
    """x log(x / mean) + mean - x, without loss where the two are close."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * math.log(x / mean) + mean - x
    v = (x - mean) / (x + mean)
    total, power, j = (x - mean) * v, 2 * x * v, 1
    while True:
        power *= v * v
        new = total + power / (2 * j + 1)
        if new == total:
            return new
        total, j = new, j + 1


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


class Ordered(Protocol):
    """Numbers in rising order."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> float: ...


def quantile(ordered: Ordered, q: float) -> float:
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


def quantile_interval(ordered: Ordered, q: float, confidence: float = 0.95) -> tuple[float, float]:
    """The order-statistic confidence interval of a quantile; 0 or infinity where the values do not reach that far."""
    low, high = quantile_ranks(len(ordered), q, confidence)
    return (ordered[low - 1] if low else 0.0), (math.inf if high is None else ordered[high - 1])


def one_sided(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact lower and the exact upper limit of a proportion, each with that confidence for itself (Clopper-Pearson)."""
    return clopper_pearson(k, n, 2 * confidence - 1)


def fisher_greater(k: int, n: int, others: int, of: int) -> float:
    """P(so many of the k + others events, or more, fall among our n by chance): Fisher's exact test, one-sided, of k of n against others of `of`."""
    events, everything = k + others, n + of
    if k <= max(0, events - of):
        return 1.0
    if k <= n * events / everything:
        # Below the mean the other tail is the shorter one, and the same test with the two groups exchanged.
        return 1.0 - _tail_sum(events - k + 1, of, n, events)
    return min(1.0, _tail_sum(k, n, of, events))


def _tail_sum(k: int, n: int, of: int, events: int) -> float:
    """P(k or more of the events fall among n of n + of), for a k above the mean: the terms fall from the first on."""
    most = min(events, n)
    if k > most:
        return 0.0
    point = _hypergeometric_point(k, n, of, events)
    total = 0.0
    for x in range(k, most + 1):
        total += point
        if point <= total * _EPSILON:
            break
        point *= (n - x) * (events - x) / ((x + 1) * (of - events + x + 1))
    return total


def _hypergeometric_point(x: int, n: int, of: int, events: int) -> float:
    """The chance that x of the events fall among n of n + of."""
    p = events / (n + of)
    q = (n + of - events) / (n + of)
    if q == 0.0:
        return 1.0 if x == n else 0.0
    among, rest = _binomial_point(x, n, p, q), _binomial_point(events - x, of, p, q)
    return among * rest / _binomial_point(events, n + of, p, q)


def fisher_with_margin(k: int, n: int, others: int, of: int, margin: float) -> float:
    """Fisher's test of k of n against others of `of`, which are granted so much more: the events they would have had with the margin on top."""
    return fisher_greater(k, n, min(of, others + math.ceil(margin * of - 1e-9)), of)


def gamma_tail(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x) for a > 0."""
    if x <= 0.0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        n = a
        while term > total * _EPSILON:
            n += 1.0
            term *= x / n
            total += term
        return 1.0 - front * total
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    total = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2.0
        d = 1.0 / _not_zero(an * d + b)
        c = _not_zero(b + an / c)
        total *= c * d
        if abs(c * d - 1.0) < _EPSILON * 4:
            break
    return front * total


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> tuple[float, float]:
    """(statistic, p) of the counts against what was expected of each: how likely so great a difference is by chance. Of one count: (0, 1)."""
    if len(counts) < 2:
        return 0.0, 1.0
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))
    return statistic, gamma_tail((len(counts) - 1) / 2, statistic / 2)


def evidence_of_more(k: int, n: int, p: float) -> float:
    """How strongly k of n speak for a chance above p, as an e-value: 1 says nothing, and under chances up to p it ever exceeds x, however often
    it is looked at, with a probability of 1 / x at most (Ville). The mixture of Beta(1/2, 1/2) against p.
    """
    if n == 0 or p >= 1.0 or k <= p * n:
        return 1.0
    if p <= 0.0:
        return math.inf
    log_e = _log_beta(k + 0.5, n - k + 0.5) - math.log(math.pi) - k * math.log(p) - (n - k) * math.log1p(-p)
    return math.exp(min(log_e, 700.0))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def samples_for_confidence(target: float, confidence: float) -> int:
    """How many samples without a bad one it takes to be that sure of the target: 299 for 99 % at 95 %, 2995 for 99.9 %."""
    return (
        1 if target <= 0 else math.ceil(math.log(1 - confidence) / math.log(target) - 1e-9) if target < 1 else 1 << 62
    )


def samples_for_ratio(target: float) -> int:
    """How many samples it takes for one bad one not to be more than 1 - target: 100 for 99 %. 1 for a target of 100 %."""
    return 1 if target >= 1 else max(1, math.ceil((1 - 1e-9) / (1 - target)))


def samples_for_quantile(q: float) -> int:
    """How many samples it takes for one of them to lie above the quantile."""
    return samples_for_ratio(q)
