"""What an author writes in Python passes a type checker as it is written in a file, and what a file would refuse is refused there too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.model.experiment import Connections, Phases, Traffic
from chaoskit.slos.availability import Availability
from chaoskit.slos.failed import BudgetSpent, Failed
from chaoskit.slos.interruption import LongestOutage
from chaoskit.slos.latency import Latency
from chaoskit.slos.recovery import RecoveredWithin

ROOT = Path(__file__).parents[2]


def test_nouns_are_written_as_text_and_read_as_values() -> None:
    """Checked twice: here as it runs, and by mypy, which checks this file with everything else."""
    phases = Phases(baseline="5s", hold="1m30s", settle="20s")
    seconds: float = phases.baseline + phases.hold
    latest: float | None = phases.settle
    assert (seconds, latest, Phases().settle) == (95.0, 20.0, None)
    traffic = Traffic(
        service="checkout", rate="100/s", timeout="500ms", connections=Connections(fresh="100%", reuse="0%")
    )
    rate: float = traffic.rate
    assert (rate, traffic.timeout, traffic.connections.fresh) == (100.0, 0.5, 1.0)
    slo = Availability(objective=">= 99%", confidence="95%", policy="fresh")
    limit: float = slo.objective.value
    sure: float | None = slo.confidence
    assert (limit, sure) == (0.99, 0.95)
    assert Latency(objective="p95 < 300ms", over="recovery").share == 0.95
    assert Failed(objective="== 0").objective.value == 0
    assert BudgetSpent(objective="<= 50%", target="99.9%").target == 0.999
    assert LongestOutage(objective="< 2s", availability="95%").availability == 0.95
    assert RecoveredWithin(within="5s").sustain == 5.0


REFUSED = """
from chaoskit.model.experiment import Phases, Traffic
from chaoskit.slos.availability import Availability
from chaoskit.slos.recovery import RecoveredWithin
Availability(objective=99)
Availability(objective=">= 99%", confidence=0.95)
Phases(baseline=5)
Traffic(service="x", rate=100)
RecoveredWithin(within=5.0)
Availability(">= 99%")
"""

ACCEPTED = """
from chaoskit.model.experiment import Phases, Traffic
from chaoskit.slos.availability import Availability
reveal_type(Availability(objective=">= 99%").objective)
reveal_type(Phases(baseline="5s").baseline)
reveal_type(Phases().settle)
"""


@pytest.mark.parametrize("plugin", [True, False])
def test_mypy_says_so_with_and_without_pydantics_plugin(tmp_path: Path, plugin: bool) -> None:
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n" + ("plugins = pydantic.mypy\n" if plugin else ""))
    said = {name: _checked(tmp_path, name, text) for name, text in {"refused": REFUSED, "accepted": ACCEPTED}.items()}
    lines = [line for line in said["refused"] if "error:" in line]
    assert {int(line.split(":")[1]) for line in lines} == set(range(5, 11)), said["refused"]
    assert not [line for line in said["accepted"] if "error:" in line], said["accepted"]
    types = [line.split('"')[1] for line in said["accepted"] if "Revealed type" in line]
    assert [name.removeprefix("builtins.") for name in types] == [
        "chaoskit.model.objective.Objective",
        "float",
        "float | None",
    ]


def _checked(folder: Path, name: str, text: str) -> list[str]:
    file = folder / f"{name}.py"
    file.write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", str(folder / "mypy.ini"), "--follow-imports", "silent"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "typing"), str(file)]
    found = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    return found.stdout.splitlines()
