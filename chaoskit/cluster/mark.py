"""What chaoskit writes on objects: whose they are and how to undo what was done to them. Reads and composes metadata; sends nothing.

label       chaoskit.dev/run    the run that created the object
annotation  chaoskit.dev/mark   RUN/STEP that created it
annotation  chaoskit.dev/undo   {"v":1,"run":RUN,"steps":{STEP:[change, ...]}}: what a run changed on somebody else's object, as the
                                operation's own JSON; written and removed in the very patch that makes and undoes the change
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import Patch, operation_to_json
from chaoskit.model.resource import Json, Obj

RUN_LABEL = "chaoskit.dev/run"
MARK_ANNOTATION = "chaoskit.dev/mark"
UNDO_ANNOTATION = "chaoskit.dev/undo"

OWN_LABELS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "chaoskit"}
"""On what is ours alone (leases, run records), so that it is found without looking at everybody's."""

_RUN = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")


def split_mark(mark: str) -> tuple[str, str]:
    """("RUN", "STEP") of a mark. Raises CouldNotRun when the run is no label value: objects could not be found by it."""
    run, _, step = mark.partition("/")
    if not _RUN.match(run) or not step:
        raise CouldNotRun(f"mark {mark!r} is not RUN/STEP with a run that can be a label value")
    return run, step


def marked(manifest: Obj, mark: str) -> dict[str, Json]:
    """The manifest with label and annotation of its creator."""
    meta = dict(manifest.get("metadata") or {})
    meta["labels"] = {**(meta.get("labels") or {}), RUN_LABEL: split_mark(mark)[0]}
    meta["annotations"] = {**(meta.get("annotations") or {}), MARK_ANNOTATION: mark}
    return {**manifest, "metadata": meta}


def mark_of(obj: Obj) -> str:
    """The mark a created object carries, or ""."""
    return str((obj["metadata"].get("annotations") or {}).get(MARK_ANNOTATION, ""))


@dataclass(frozen=True, slots=True)
class UndoNote:
    """What a run noted on an object, by step. Empty: nothing is noted."""

    run: str = ""
    steps: Mapping[str, Json] = field(default_factory=dict)

    def text(self) -> str:
        """As it stands in the annotation."""
        return json.dumps({"v": 1, "run": self.run, "steps": self.steps}, separators=(",", ":"), sort_keys=True)

    def holds(self, mark: str) -> bool:
        run, step = split_mark(mark)
        return self.run == run and step in self.steps

    def foreign_to(self, mark: str) -> bool:
        """Whether another run still has something to undo here."""
        return bool(self.run) and self.run != split_mark(mark)[0]

    def adding(self, mark: str, op: Patch) -> UndoNote:
        run, step = split_mark(mark)
        return UndoNote(run, {**self.steps, step: operation_to_json(op)["changes"]})

    def without(self, mark: str) -> UndoNote:
        step = split_mark(mark)[1]
        rest = {key: value for key, value in self.steps.items() if key != step}
        return UndoNote(self.run, rest) if rest else UndoNote()


def undo_text(obj: Obj) -> str | None:
    """The annotation as it stands on the object."""
    text = (obj["metadata"].get("annotations") or {}).get(UNDO_ANNOTATION)
    return None if text is None else str(text)


def undo_note(obj: Obj) -> UndoNote:
    """What is noted on an object. A text that is none of ours counts as a stranger's."""
    text = undo_text(obj)
    if text is None:
        return UndoNote()
    try:
        data = json.loads(text)
        return UndoNote(str(data["run"]), dict(data["steps"]))
    except (ValueError, KeyError, TypeError):
        return UndoNote("?", {})
