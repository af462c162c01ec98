"""StatefulSets, DaemonSets and the ControllerRevisions both keep: defaults, validation, what may change. Works on private copies.

Source: k8s.io/kubernetes pkg/apis/apps/{v1/defaults,validation/validation}.go, restated; defaults recorded on 1.36.2.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, field_forbidden, required, unsupported
from chaoskit.sandbox.metadata import is_label
from chaoskit.sandbox.notices import count_unsupported, warn
from chaoskit.sandbox.rules.claims import default_claim
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status
from chaoskit.sandbox.rules.workload import (
    default_template,
    is_zero,
    not_negative,
    same_selector,
    share_causes,
    validate_replicated,
)
from chaoskit.sandbox.store import Obj

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
_STRATEGIES: Final = ("OnDelete", "RollingUpdate")
_MUTABLE: Final = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_IMMUTABLE: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _default_stateful_set(obj: Obj) -> None:
    spec = default_template(obj)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    if isinstance(retention, dict):
        retention.setdefault("whenDeleted", "Retain")
        retention.setdefault("whenScaled", "Retain")
    rolling = _default_strategy(spec)
    if rolling is not None:
        rolling.setdefault("partition", 0)
    for claim in spec.get("volumeClaimTemplates") or ():
        if isinstance(claim, dict):
            claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}
            default_claim(claim)
    _drop_zero(spec, "minReadySeconds")


def _default_strategy(spec: Obj) -> Obj | None:
    """Settle the type; answers the rolling update's limits where they count."""
    strategy = spec.setdefault("updateStrategy", {})
    if not isinstance(strategy, dict) or strategy.setdefault("type", "RollingUpdate") != "RollingUpdate":
        return None
    rolling = strategy.setdefault("rollingUpdate", {})
    return rolling if isinstance(rolling, dict) else None


def _drop_zero(spec: Obj, key: str) -> None:
    if spec.get(key) == 0:
        del spec[key]


def _create_stateful_set(obj: Obj, admission: Admission) -> None:
    _default_stateful_set(obj)
    retention = obj["spec"]["persistentVolumeClaimRetentionPolicy"]
    if isinstance(retention, dict) and "Delete" in retention.values():
        count_unsupported("StatefulSet field spec.persistentVolumeClaimRetentionPolicy: Delete")
        warn("spec.persistentVolumeClaimRetentionPolicy: the chaoskit sandbox keeps every claim, as with Retain")
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


def _update_stateful_set(new: Obj, old: Obj, admission: Admission) -> None:
    _default_stateful_set(new)
    keep_status(new, old)


def _validate_stateful_set(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = validate_replicated(_with_claims(obj)) + not_negative(spec, "revisionHistoryLimit")
    causes += _validate_strategy(spec)
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        policy = spec["podManagementPolicy"]
        causes.append(unsupported("spec.podManagementPolicy", policy, ["OrderedReady", "Parallel"]))
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    causes += [_inside("spec.updateStrategy.rollingUpdate.", cause) for cause in not_negative(rolling, "partition")]
    causes += [_inside("spec.ordinals.", cause) for cause in not_negative(spec.get("ordinals") or {}, "start")]
    if not is_label(str(obj["metadata"].get("name", "x"))):
        causes.append(bad_value("metadata.name", obj["metadata"]["name"], "must be usable as a host name"))
    for place, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        if not (claim.get("metadata") or {}).get("name"):
            causes.append(required(f"spec.volumeClaimTemplates[{place}].metadata.name"))
    return causes


def _with_claims(obj: Obj) -> Obj:
    """The set as its pods will be: each claim of it is a volume that a container may mount."""
    spec, template = obj["spec"], obj["spec"].get("template")
    names = [(claim.get("metadata") or {}).get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    if not names or not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return obj
    others = [each for each in template["spec"].get("volumes") or () if each.get("name") not in names]
    volumes = [*others, *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names if name)]
    pods = template["spec"] | {"volumes": volumes}
    return obj | {"spec": spec | {"template": template | {"spec": pods}}}


def _inside(prefix: str, cause: Cause) -> Cause:
    return Cause(prefix + cause.field.removeprefix("spec."), cause.reason, cause.message)


def _validate_strategy(spec: Obj) -> list[Cause]:
    strategy = spec.get("updateStrategy")
    given = strategy.get("type") if isinstance(strategy, dict) else strategy
    return [] if given in _STRATEGIES else [unsupported("spec.updateStrategy.type", given, _STRATEGIES)]


def _stateful_set_update(new: Obj, old: Obj) -> list[Cause]:
    fixed = [{key: value for key, value in each["spec"].items() if key not in _MUTABLE} for each in (new, old)]
    return [] if fixed[0] == fixed[1] else [field_forbidden("spec", _IMMUTABLE)]


def _default_daemon_set(obj: Obj) -> None:
    spec = default_template(obj)
    spec.pop("replicas", None)
    spec.setdefault("revisionHistoryLimit", 10)
    rolling = _default_strategy(spec)
    if rolling is not None:
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    _drop_zero(spec, "minReadySeconds")


def _create_daemon_set(obj: Obj, admission: Admission) -> None:
    _default_daemon_set(obj)
    obj["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = "1"
    numbers = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    obj["status"] = dict.fromkeys(numbers, 0)


def _update_daemon_set(new: Obj, old: Obj, admission: Admission) -> None:
    """The template's own generation moves with the template, whatever the client sends."""
    _default_daemon_set(new)
    before = int((old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "1"))
    moved = new["spec"].get("template") != old["spec"].get("template")
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(before + moved)
    keep_status(new, old)


def _validate_daemon_set(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = validate_replicated(obj) + not_negative(spec, "revisionHistoryLimit") + _validate_strategy(spec)
    rolling, at = (spec.get("updateStrategy") or {}).get("rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    if not isinstance(rolling, dict) or causes:
        return causes
    causes = [cause for key in ("maxUnavailable", "maxSurge") for cause in share_causes(rolling[key], f"{at}.{key}")]
    if causes:
        return causes
    surges, yields = not is_zero(rolling["maxSurge"]), not is_zero(rolling["maxUnavailable"])
    if surges and yields:
        return [bad_value(f"{at}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")]
    return [] if surges or yields else [required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0")]


def _default_revision(obj: Obj, admission: Admission) -> None:
    obj.setdefault("revision", 0)


def _validate_revision(obj: Obj) -> list[Cause]:
    return [] if isinstance(obj.get("data"), dict) else [required("data")]


def _revision_update(new: Obj, old: Obj) -> list[Cause]:
    if new.get("data") == old.get("data"):
        return []
    return [bad_value("data", "", "field is immutable")]


def _nothing(obj: Obj) -> Any:
    return None


STATEFUL_SET: Final = Rule(
    prepare_create=_create_stateful_set,
    prepare_update=_update_stateful_set,
    validate=_validate_stateful_set,
    validate_update=_stateful_set_update,
)
DAEMON_SET: Final = Rule(
    prepare_create=_create_daemon_set,
    prepare_update=_update_daemon_set,
    validate=_validate_daemon_set,
    validate_update=same_selector,
)
CONTROLLER_REVISION: Final = Rule(
    prepare_create=_default_revision,
    validate=_validate_revision,
    validate_update=_revision_update,
    counts=_nothing,
)
