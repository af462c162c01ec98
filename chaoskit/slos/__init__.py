"""The promises and objectives a run is judged by. This package's door names them and loads one at a time; it judges nothing itself."""

from __future__ import annotations

from chaoskit.slos.registry import OWN, from_value, kinds, load_slo, parse_slo

__all__ = ["OWN", "from_value", "kinds", "load_slo", "parse_slo"]
