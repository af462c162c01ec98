"""A run as the reports see it: a pod is killed, some requests fail, the replica comes back. Arranges; asserts nothing."""

from __future__ import annotations

from chaoskit.model.history import History
from chaoskit.model.verdict import Bound, Finding, Grade, Restored, Term, Verdict
from tests.histories import Told, endpoint_slice, kill, pod, window

BOUND = Bound(
    (Term(5.0, "a pod created", "assumed (pod-startup-slo=5s)"), Term(2.0, "observation", "assumed (slack=2s)"))
)


def killed_pod(name: str = "a") -> History:
    """Ten seconds of baseline, a kill at 10, back at 13, revert at 20, the end at 25. Every request fails from 10 to 12."""
    told = Told().settled_shop(0.0)
    told._tell(-0.5, "run.began", **_BEGAN)
    told.phases(warm_up=0, baseline=1, inject=10, hold=11, revert=20, settle=20, ended=25)
    told.done_and_seen(10.0, kill(name))
    told.gone("pods", 10.0, pod("a")).see("endpoints", 10.2, endpoint_slice("b", "c"))
    told.see("pods", 13.0, pod(name, owned_by="rs")).see("endpoints", 13.1, endpoint_slice("b", "c", name))
    told.traffic(1.0, 25.0, bad=lambda t: 10 <= t < 12, latency=lambda t: 0.5 if 12 <= t < 13 else 0.01)
    told._tell(25.0, "run.ended", restored="yes", because="")
    return told.history()


_BEGAN = {
    "run": "bcdfghjk",
    "version": "0.1.0",
    "experiment": {"name": "shop-survives", "source": "shop.yaml", "digest": "0"},
    "server": "https://127.0.0.1:6443",
    "context": "staging",
    "profile": "",
    "wall": 1_770_000_000.0,
    "seed": 42,
}


def verdict(
    grade: Grade = Grade.FAIL, because: str = "95 % of 1000 requests were good", restored: Restored = "yes"
) -> Verdict:
    """One finding of that grade and one promise that was kept."""
    availability = Finding(
        "availability >= 99 %",
        grade,
        because,
        window("fault", 10, 20),
        0.95,
        0.99,
        "ratio",
        samples=1000,
        interval=(0.93, 0.96),
    )
    replicas = Finding(
        "replicasRestored", Grade.PASS, "back after 3 s", window("run", 1, 25), 3.0, 7.0, "s", bound=BOUND
    )
    return Verdict(grade, (Finding("injected", Grade.PASS, "1 of 1 steps"),), (availability, replicas), restored)
