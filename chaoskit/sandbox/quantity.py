"""Resource quantities ("500m", "64Mi") as exact numbers. Text in, Decimals out.

Grammar: apimachinery pkg/api/resource/quantity.go, restated.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$")
_FACTORS: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
} | {f"{letter}i": Decimal(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")}


def parse_quantity(text: str | float) -> Decimal:
    """The amount in base units (cores, bytes). Raises ValueError for anything that is not a quantity."""
    found = _FORM.match(str(text))
    if found is None or isinstance(text, bool):
        raise ValueError(f"{text!r} is not a quantity: expected a number with an optional suffix such as m, k, Mi")
    number, suffix = found.groups()
    if suffix is None:
        return Decimal(number)
    factor = _FACTORS.get(suffix)
    return Decimal(number) * factor if factor is not None else Decimal(f"{number}{suffix}")


def is_quantity(text: object) -> bool:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return False
    return _FORM.match(str(text)) is not None
