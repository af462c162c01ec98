"""Pods: defaults, tolerations, service account, quality of service, what may change later. Works on private copies.

Source: k8s.io/kubernetes pkg/registry/core/pod/strategy.go and the admission plugins serviceaccount and
defaulttolerationseconds, restated. A token is mounted only where a projected volume asks for one.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, field_forbidden, forbidden
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.quantity import parse_quantity
from chaoskit.sandbox.rules import podspec
from chaoskit.sandbox.rules.podcheck import validate_spec
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status, status_and_marks
from chaoskit.sandbox.store import Obj, thaw

_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
_IMMUTABLE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _prepare_create(obj: Obj, admission: Admission) -> None:
    spec = obj.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    podspec.set_defaults(spec)
    _mend_grace(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _add_default_tolerations(spec, admission)
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}


def _mend_grace(spec: Obj) -> None:
    """A negative grace period is taken, and means one second; a workload's template keeps it as it was written."""
    grace_s = spec["terminationGracePeriodSeconds"]
    if isinstance(grace_s, int) and grace_s < 0:
        spec["terminationGracePeriodSeconds"] = 1


def _add_default_tolerations(spec: Obj, admission: Admission) -> None:
    timings = admission.settings.timings
    tolerations = spec.get("tolerations")
    if tolerations is not None and not isinstance(tolerations, list):
        return
    wanted = (
        (_NOT_READY, timings.default_not_ready_toleration_s),
        (_UNREACHABLE, timings.default_unreachable_toleration_s),
    )
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key, seconds in wanted
        if not any(_tolerates(toleration, key) for toleration in tolerations or ())
    ]
    if added:
        spec["tolerations"] = [*(tolerations or ()), *added]


def _tolerates(toleration: Any, key: str) -> bool:
    if not isinstance(toleration, dict):
        return False
    return toleration.get("key", key) == key and toleration.get("effect", "NoExecute") in ("NoExecute", "")


def quality_of_service(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort (kubernetes.io: Pod Quality of Service Classes)."""
    containers = [c for name in podspec.CONTAINER_LISTS for c in spec.get(name) or () if isinstance(c, dict)]
    resources = [_amounts(container.get("resources") or {}) for container in containers]
    if not any(limits or requests for limits, requests in resources):
        return "BestEffort"
    guaranteed = all(limits == requests and {"cpu", "memory"} <= limits.keys() for limits, requests in resources)
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: Obj) -> tuple[dict[str, Any], dict[str, Any]]:
    limits, requests = (
        {name: _amount(text) for name, text in (resources.get(side) or {}).items() if name in ("cpu", "memory")}
        for side in ("limits", "requests")
    )
    return {k: v for k, v in limits.items() if v}, {k: v for k, v in requests.items() if v}


def _amount(text: Any) -> Any:
    try:
        return parse_quantity(text)
    except ValueError:
        return text


def _validate(obj: Obj) -> list[Cause]:
    return validate_spec(obj.get("spec"), "spec")


def _admit(obj: Obj, admission: Admission) -> None:
    """Raises ApiError 403 when the pod's service account does not exist."""
    namespace, name = obj["metadata"]["namespace"], obj["spec"]["serviceAccountName"]
    if admission.store.get("serviceaccounts", namespace, name) is None:
        because = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(KINDS["pods"], obj["metadata"]["name"], because)


def _prepare_update(new: Obj, old: Obj, admission: Admission) -> None:
    if isinstance(new.get("spec"), dict):
        podspec.set_defaults(new["spec"])
    keep_status(new, old)


def _validate_update(new: Obj, old: Obj) -> list[Cause]:
    allowed = _with_mutable_fields(thaw(old["spec"]), new["spec"])
    return [] if allowed == new["spec"] else [field_forbidden("spec", _IMMUTABLE)]


def _with_mutable_fields(spec: Obj, new: Obj) -> Obj:
    """The old spec with those fields taken from the new one that a running pod may change."""
    for name in podspec.CONTAINER_LISTS:
        for container, changed in zip(spec.get(name) or (), new.get(name) or (), strict=False):
            container["image"] = changed.get("image")
    if "activeDeadlineSeconds" in new:
        spec["activeDeadlineSeconds"] = new["activeDeadlineSeconds"]
    tolerations = new.get("tolerations") or []
    if all(toleration in tolerations for toleration in spec.get("tolerations") or ()) and tolerations:
        spec["tolerations"] = tolerations
    if spec.get("terminationGracePeriodSeconds", 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        spec["terminationGracePeriodSeconds"] = 1
    return spec


POD: Final = Rule(
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=_validate,
    validate_update=_validate_update,
    admit=_admit,
    with_status=status_and_marks,
)
