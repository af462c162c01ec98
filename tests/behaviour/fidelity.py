"""Writes docs/fidelity.md from recorded runs of this suite: `python -m tests.behaviour.fidelity`. Runs nothing and asks no cluster.

Runs are recorded with `--chaos-record tests/behaviour/data/TARGET.json`, one file a target. A scenario that no real cluster
has run is marked unverified; one that a later change renamed is left out until it is recorded again.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATA = HERE / "data"
PAGE = HERE.parent.parent / "docs" / "fidelity.md"
API_SOURCES = {
    "test_api_everyday.py": "kubectl; kubernetes.io: API concepts",
    "test_api_errors.py": "kubernetes.io: API concepts; apimachinery api/errors",
    "test_api_kubectl.py": "kubectl",
    "test_api_objects.py": "kubernetes.io: API concepts",
    "test_api_paging.py": "kubernetes.io: API concepts, chunks; conformance: chunking.go",
    "test_api_patch.py": "kubernetes.io: API concepts, patches; recorded on 1.36",
    "test_api_pods.py": "kubernetes.io: Pod Lifecycle; recorded on 1.36",
    "test_api_watch.py": "kubernetes.io: API concepts, watches; conformance: watch.go",
}
"""What the tests restate that are about the API as such and name no scenario of their own."""
KNOWN = {
    "test_applying_any_kind_twice_changes_nothing": "kubectl calls a PodDisruptionBudget `configured` each time on Kubernetes; nothing is changed there either",
    "test_watchers_of_the_same_thing_see_the_same_order": "the recorded cluster puts ConfigMaps of its own into each namespace, which the test does not expect",
}
"""Why a test of the API failed on the recorded cluster."""
HEAD = """# Fidelity

How far the sandbox behaves as Kubernetes does. This page is generated: `python -m tests.behaviour.fidelity`.

Each row is a scenario of `tests/behaviour/`, a test that knows the cluster only by its kubeconfig. The same test runs on the
sandbox and on a real cluster, and asserts the order of events and wide bands of time. *Source* is the page, source file or
conformance test whose rule it restates, or "recorded" where the rule was read off a real cluster. Seconds are what that one
run measured, on a small busy machine: read them as an order of magnitude.

    pytest tests/behaviour -n 2                                        the sandbox
    pytest tests/behaviour -n 2 --chaos-nightly                        with the slow scenarios
    pytest tests/behaviour -n 2 --chaos-nightly --chaos-context NAME   a cluster of your kubeconfig
"""


@dataclass(frozen=True, slots=True)
class Run:
    """The recorded results of one target, by test."""

    title: str
    results: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    module: str
    behaviour: str
    source: str
    differs: str
    cells: tuple[str, ...]


def load(path: Path) -> Run:
    """A file that `--chaos-record` wrote. Raises OSError or ValueError."""
    found = json.loads(path.read_text())
    results = {one["test"]: one for one in found["results"] if _exists(one["test"])}
    dates = sorted({one["date"] for one in results.values()})
    targets = sorted({one["target"] for one in results.values() if one["target"]})
    span = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else ""
    note = f" {found['note']}" if "note" in found else ""
    return Run(f"{', '.join(targets)}, recorded {span}.{note}", results)


def _exists(test: str) -> bool:
    module, _, name = test.partition("::")
    path = HERE / module
    return path.exists() and f"def {name.partition('[')[0]}(" in path.read_text()


def rows(sandbox: Run, real: Run) -> list[Row]:
    """One a scenario, by file and name."""
    tests = sorted(sandbox.results.keys() | real.results.keys())
    return [_row(test, sandbox.results.get(test), real.results.get(test)) for test in tests]


def _row(test: str, sandbox: dict[str, Any] | None, real: dict[str, Any] | None) -> Row:
    module, _, name = test.partition("::")
    said = (sandbox or real or {}).get("scenario") or {}
    behaviour = said.get("behaviour") or _sentence(name)
    case = re.search(r"\[(.*)\]", name)
    if case:
        behaviour += f": {case[1]}"
    differs = [said["differs"]] if said.get("differs") else []
    if real and real["outcome"] == "failed":
        differs.append(KNOWN.get(name.partition("[")[0], "not explained yet"))
    if real and real["outcome"] == "skipped" and real["reason"]:
        differs.append(f"not run on Kubernetes: {real['reason']}")
    source = said.get("source") or API_SOURCES.get(module, "")
    return Row(module, behaviour, source, "; ".join(differs), (_cell(sandbox, "not run"), _cell(real, "unverified")))


def _sentence(name: str) -> str:
    words = name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return words[:1].upper() + words[1:]


def _cell(result: dict[str, Any] | None, absent: str) -> str:
    if result is None or result["outcome"] == "skipped":
        return absent
    if result["outcome"] != "passed":
        return "**differs**"
    times = "; ".join(f"{what} {seconds:g} s" for what, seconds in result["noted"].items())
    return f"yes ({times})" if times else "yes"


def render(sandbox: Run, real: Run) -> str:
    """The whole page."""
    table = rows(sandbox, real)
    counts = [sum(row.cells[n].startswith("yes") for row in table) for n in (0, 1)]
    parts = [
        HEAD,
        f"- Scenarios: {len(table)}. Hold on the sandbox: {counts[0]}; on Kubernetes: {counts[1]}.",
        f"- Sandbox: profile `fast`; {sandbox.title}",
        f"- Kubernetes: {real.title}",
        "- *unverified*: not run on a real cluster. *differs*: the recorded run failed there.\n",
    ]
    for module in dict.fromkeys(row.module for row in table):
        parts += _section(module, [row for row in table if row.module == module])
    return "\n".join(parts)


def _section(module: str, table: Iterable[Row]) -> list[str]:
    title = (ast.get_docstring(ast.parse((HERE / module).read_text())) or module).partition("\n")[0]
    head = [
        f"## {title.rstrip('.')}\n",
        "| Behaviour | Source | Sandbox | Kubernetes | Known differences |",
        "|---|---|---|---|---|",
    ]
    body = [
        "| " + " | ".join(_safe(text) for text in (row.behaviour, row.source, *row.cells, row.differs)) + " |"
        for row in table
    ]
    return [*head, *body, ""]


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    real = next(iter(sorted(DATA.glob("kubernetes-*.json"), reverse=True)))
    PAGE.write_text(render(load(DATA / "sandbox.json"), load(real)))
    print(f"wrote {PAGE.name} from sandbox.json and {real.name}")


if __name__ == "__main__":
    main()
