"""Lines into SVG text. Pure geometry: knows no run and no Kubernetes; every text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from chaoskit.reports.series import Axis, Line, Stretch

WIDTH, HEIGHT = 1000, 230
LEFT, RIGHT, TOP, BOTTOM = 56, 984, 34, 200
"""The plot's edges inside the picture."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The vertical axis from `low` to `high`; logarithmic scales have a `low` above zero."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def y(self, value: float) -> float:
        """The height of a value in the picture; what is beyond the scale lies on its edge."""
        low, high, at = (math.log10(max(v, 1e-9)) if self.log else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, share))


def linear(lines: Sequence[Line]) -> Scale:
    """From zero to a round number above the greatest value."""
    top = max((y for line in lines for _, y in line.points if not math.isnan(y)), default=1.0)
    step = _round_step(max(top, 1.0) / 4)
    high = step * math.ceil(max(top, 1.0) * 1.05 / step)
    return Scale(0.0, high, False, tuple(step * i for i in range(round(high / step) + 1)))


def logarithmic(lines: Sequence[Line]) -> Scale:
    """Whole decades around all values."""
    values = [y for line in lines for _, y in line.points if not math.isnan(y) and y > 0] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    return Scale(10.0**low, 10.0**high, True, tuple(10.0**e for e in range(low, high + 1)))


def _round_step(rough: float) -> float:
    decade = 10.0 ** math.floor(math.log10(rough))
    return max(1.0, next(decade * factor for factor in (1, 2, 5, 10) if decade * factor >= rough * 0.999))


def draw(
    title: str, lines: Sequence[Line], scale: Scale, axis: Axis, shaded: Sequence[Stretch], marks: Sequence[Stretch]
) -> str:
    """One chart as an <svg> element. `shaded` are stretches of the background, `marks` the phases."""
    body = "".join(
        (
            *_shades(shaded, axis),
            *_grid(scale),
            *_seconds(axis),
            *_marks(marks, axis),
            *(_path(line, i, scale, axis) for i, line in enumerate(lines)),
        )
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'data-left="{LEFT}" data-right="{RIGHT}" data-top="{TOP}" data-bottom="{BOTTOM}">{body}'
        f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{BOTTOM}" visibility="hidden"/></svg>'
    )


def legend(lines: Sequence[Line]) -> str:
    """The names of the lines, each with a sample of its colour and dashes."""
    samples = (
        f'<span class="key"><svg viewBox="0 0 34 10" width="34" height="10" aria-hidden="true">'
        f'<path class="line c{i}" d="M1 5H33"/></svg>{escape(line.name)}</span>'
        for i, line in enumerate(lines)
    )
    return f'<p class="legend">{"".join(samples)}</p>'


def _x(seconds: float, axis: Axis) -> float:
    share = (seconds - axis.start_s) / (axis.end_s - axis.start_s)
    return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share))


def _shades(shaded: Sequence[Stretch], axis: Axis) -> Iterator[str]:
    for stretch in shaded:
        x, width = _x(stretch.start_s, axis), _x(stretch.end_s, axis) - _x(stretch.start_s, axis)
        yield (
            f'<rect class="w {escape(stretch.name)}" x="{x:.1f}" y="{TOP}" width="{max(0.0, width):.1f}" height="{BOTTOM - TOP}">'
            f"<title>{escape(stretch.name)} window</title></rect>"
        )


def _grid(scale: Scale) -> Iterator[str]:
    for tick in scale.ticks:
        y = scale.y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>'


def _seconds(axis: Axis) -> Iterator[str]:
    step = _round_step((axis.end_s - axis.start_s) / 10)
    for i in range(math.ceil(axis.start_s / step), math.floor(axis.end_s / step) + 1):
        x = _x(i * step, axis)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{BOTTOM + 17}" text-anchor="middle">{i * step:g} s</text>'


def _marks(marks: Sequence[Stretch], axis: Axis) -> Iterator[str]:
    """A line at the begin of each phase, its name above; names that would run into each other take turns in two rows."""
    free = [-math.inf, -math.inf]
    for mark in marks:
        x = _x(mark.start_s, axis)
        row = 0 if free[0] <= x else 1
        at = max(x, free[row])
        free[row] = at + 7 * len(mark.name) + 6
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>'
        yield f'<text class="phase" x="{at + 2:.1f}" y="{TOP - 18 + 13 * row}">{escape(mark.name)}</text>'


def _path(line: Line, number: int, scale: Scale, axis: Axis) -> str:
    return f'<path class="line c{number}" d="{"".join(_moves(line, scale, axis))}"><title>{escape(line.name)}</title></path>'


def _moves(line: Line, scale: Scale, axis: Axis) -> Iterator[str]:
    """Steps keep a value until the next point; a point without a value lifts the pen."""
    drawing = False
    for (x, y), end in zip(line.points, _ends(line, axis), strict=True):
        if math.isnan(y):
            drawing = False
            continue
        yield f"{'L' if drawing else 'M'}{_x(x, axis):.1f} {scale.y(y):.1f}"
        if line.steps:
            yield f"H{_x(end, axis):.1f}"
        drawing = True


def _ends(line: Line, axis: Axis) -> list[float]:
    starts = [x for x, _ in line.points]
    last = min(axis.end_s, starts[-1] + 1.0) if starts else axis.end_s
    return [*starts[1:], last] if starts else []
