"""How many new connections a second this machine can make to one address: each takes a port, and a closed one rests for a minute. Reads; opens none."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from chaoskit.model.units import render_seconds
from chaoskit.traffic.plan import TrafficPlan

REST_S = 60.0
"""How long Linux keeps the port of a closed connection (TCP_TIMEWAIT_LEN in include/net/tcp.h). In seconds."""
_REST_REUSED_S = 1.0
"""The same where the kernel may use such a port again for the same destination (ip-sysctl: tcp_tw_reuse)."""
_SETTINGS = Path("/proc/sys/net/ipv4")
_ANYWHERE, _LOOPBACK = 1, 2


def refusal(plan: TrafficPlan, addresses: Sequence[str], settings: Path = _SETTINGS) -> str | None:
    """Why the planned rate of new connections cannot be kept up for as long as the traffic lasts, or None."""
    needed = _needed(plan, addresses, settings)
    if needed is None or (plan.lasts_s is not None and plan.lasts_s < needed):
        return None
    return f"{_said(plan, addresses, settings)}. Lower the rate or the share of fresh connections, or let the name have more addresses"


def caution(plan: TrafficPlan, addresses: Sequence[str], settings: Path = _SETTINGS) -> str | None:
    """The same for a traffic that ends before the ports do: what would happen if it went on. None when all is well."""
    needed = _needed(plan, addresses, settings)
    if needed is None or refusal(plan, addresses, settings) is not None:
        return None
    return f"{_said(plan, addresses, settings)}: keep the run shorter than that"


def _needed(plan: TrafficPlan, addresses: Sequence[str], settings: Path) -> float | None:
    """After how many seconds all ports are taken; None when the rate can be kept up for ever."""
    ports, rest_s = _ports(addresses, settings)
    rate = _fresh_per_s(plan)
    return None if rate * rest_s <= ports else ports / rate


def _said(plan: TrafficPlan, addresses: Sequence[str], settings: Path) -> str:
    ports, rest_s = _ports(addresses, settings)
    rate = _fresh_per_s(plan)
    return (
        f"{rate:.0f} new connections/s to {', '.join(addresses)} need more ports than this machine has: {ports}, each at rest for "
        f"{rest_s:.0f} s after use, are enough for {ports / rest_s:.0f}/s and run out after {render_seconds(ports / rate)}"
    )


def _fresh_per_s(plan: TrafficPlan) -> float:
    if plan.locustfile is not None:
        return 0.0  # its connections are its own
    return plan.rate_per_s * plan.policies.get("fresh", 0.0) / sum(plan.policies.values())


def _ports(addresses: Sequence[str], settings: Path) -> tuple[int, float]:
    """How many there are for these destinations, and how long each rests."""
    low, high = (int(text) for text in (settings / "ip_local_port_range").read_text().split())
    reuse = int((settings / "tcp_tw_reuse").read_text())
    at_home = all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
    reused = reuse == _ANYWHERE or (reuse == _LOOPBACK and at_home)
    return (high - low + 1) * max(1, len(addresses)), _REST_REUSED_S if reused else REST_S
