"""Wall-clock time as Kubernetes writes it. Text and datetimes only; nobody waits here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    return datetime.now(UTC)


def render(moment: datetime) -> str:
    """metav1.Time: whole seconds, truncated."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_micro(moment: datetime) -> str:
    """metav1.MicroTime, as in leases."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """A metav1.Time or MicroTime. Raises ValueError for anything else."""
    return datetime.fromisoformat(text)


def stamp() -> str:
    return render(now())


def stamp_after(seconds: float, since: datetime | None = None) -> str:
    return render((since or now()) + timedelta(seconds=seconds))
