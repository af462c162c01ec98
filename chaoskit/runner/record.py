"""The run's record in the cluster: a ConfigMap with every step that was intended, for whoever comes later. Encodes and writes; undoes nothing.

A step whose undo stands on the object itself (`cluster/mark.py`) is here by reference only; one that cannot leave a note on what it changed
(a request to a pod, a command in it, the scale of a workload) brings its undo along. No manifest and no value of a Secret is ever written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaoskit.cluster.mark import OWN_LABELS, RUN_LABEL
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import (
    Create,
    Operation,
    Patch,
    inverse,
    operation_from_json,
    operation_to_json,
    ref_from_json,
    ref_to_json,
)
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster
from chaoskit.model.step import Step

LIMIT_BYTES = 900_000
"""What fits into a ConfigMap (1 MiB) with room for its metadata."""

_ABOUT = "run"
_STAGE = "stage."


@dataclass(frozen=True, slots=True)
class Entry:
    """One intended step. `undo` None: the object bears it, or, when `irreversible`, nothing undoes it."""

    id: str
    kind: str
    ref: Ref
    undo: Operation | None = None
    irreversible: bool = False


def leaves_note(op: Operation) -> bool:
    """Whether the operation writes its own undo onto the object, in the same request."""
    return isinstance(op, Create) or (isinstance(op, Patch) and not op.subresource)


def entry_of(id_: str, step: Step) -> Entry:
    """What has to be remembered of a step."""
    by_reference = step.undo is None or (leaves_note(step.do) and step.undo == inverse(step.do))
    return Entry(
        id_, type(step.do).__name__.lower(), step.do.ref, None if by_reference else step.undo, step.undo is None
    )


def entries_of(record: Obj) -> list[Entry]:
    """The steps of a record, oldest first. Raises ValueError for one that this version cannot read."""
    data = record.get("data") or {}
    stages = sorted(key for key in data if key.startswith(_STAGE))
    return [_from_json(step) for key in stages for step in json.loads(data[key])]


def is_record(obj: Obj) -> bool:
    return _ABOUT in (obj.get("data") or {}) and bool((obj["metadata"].get("labels") or {}).get(RUN_LABEL))


def run_of_record(record: Obj) -> str:
    return str(record["metadata"]["labels"][RUN_LABEL])


def record_ref(run: str, namespace: str) -> Ref:
    return Ref("ConfigMap", f"chaoskit-run-{run}", namespace)


@dataclass(slots=True)
class Record:
    """The ConfigMap of one run; made with the first stage, one write for each, gone when all is closed."""

    cluster: Cluster
    run: str
    namespace: str
    about: Mapping[str, Json] = field(default_factory=dict)
    stages: int = 0
    live: Obj | None = None

    async def intend(self, entries: Sequence[Entry]) -> None:
        """Write the steps of a stage. Raises CouldNotRun when they do not fit, ClusterError when they are not written: then nothing must be done."""
        data = dict(self.live["data"]) if self.live is not None else {_ABOUT: _compact(self.about)}
        data[f"{_STAGE}{self.stages:04d}"] = _compact([_to_json(entry) for entry in entries])
        size = sum(len(key) + len(text.encode()) for key, text in data.items())
        if size > LIMIT_BYTES:
            raise CouldNotRun(
                f"what this run would have to remember ({size} bytes) does not fit into a ConfigMap; touch fewer objects"
            )
        self.live = await self.cluster.keep(self._object(data))
        self.stages += 1

    def _object(self, data: Mapping[str, str]) -> Obj:
        ref = record_ref(self.run, self.namespace)
        meta: dict[str, Json] = {"name": ref.name, "namespace": ref.namespace}
        if self.live is not None:
            meta |= {key: self.live["metadata"][key] for key in ("uid", "resourceVersion")}
        meta["labels"] = {**OWN_LABELS, RUN_LABEL: self.run}
        return {"kind": "ConfigMap", "metadata": meta, "data": data}

    async def erase(self) -> None:
        """All is closed: nothing of the run stays."""
        if self.live is not None:
            meta = self.live["metadata"]
            await self.cluster.drop(Ref("ConfigMap", meta["name"], meta["namespace"], meta["uid"]))
            self.live = None


def _to_json(entry: Entry) -> dict[str, Json]:
    data: dict[str, Json] = {"id": entry.id, "op": entry.kind, "ref": ref_to_json(entry.ref)}
    if entry.undo is not None:
        data["undo"] = operation_to_json(entry.undo)
    if entry.irreversible:
        data["irreversible"] = True
    return data


def _from_json(data: Mapping[str, Json]) -> Entry:
    undo = operation_from_json(data["undo"]) if "undo" in data else None
    return Entry(data["id"], data["op"], ref_from_json(data["ref"]), undo, bool(data.get("irreversible")))


def _compact(data: Json) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
