"""Deployments and ReplicaSets: defaults, validation, what may change later. Works on private copies.

Source: k8s.io/kubernetes pkg/apis/apps/{v1/defaults,validation/validation}.go, restated. A change of annotations raises
a Deployment's generation (recorded on Kubernetes 1.36.2).
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, required, unsupported
from chaoskit.sandbox.metadata import validate_labels
from chaoskit.sandbox.rules import podspec
from chaoskit.sandbox.rules.podcheck import validate_spec
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status, status_and_annotations
from chaoskit.sandbox.selectors import selects
from chaoskit.sandbox.store import Obj


def default_template(obj: Obj) -> Obj:
    """Defaults of what the two have in common; answers the spec."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            podspec.set_defaults(template["spec"])
    return spec


def default_deployment(obj: Obj) -> None:
    spec = default_template(obj)
    strategy = spec.setdefault("strategy", {})
    if isinstance(strategy, dict):
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    if spec.get("minReadySeconds") == 0:
        del spec["minReadySeconds"]


def _create_deployment(obj: Obj, admission: Admission) -> None:
    default_deployment(obj)
    obj["status"] = {}


def _update_deployment(new: Obj, old: Obj, admission: Admission) -> None:
    default_deployment(new)
    keep_status(new, old)


def _create_replica_set(obj: Obj, admission: Admission) -> None:
    default_template(obj)
    obj["status"] = {"replicas": 0}


def _update_replica_set(new: Obj, old: Obj, admission: Admission) -> None:
    default_template(new)
    keep_status(new, old)


def validate_replicated(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = not_negative(spec, "replicas") + not_negative(spec, "minReadySeconds")
    causes += validate_selector(spec)
    template = spec.get("template")
    if not isinstance(template, dict):
        return [*causes, required("spec.template")]
    causes += validate_labels(template["metadata"].get("labels", {}), "spec.template.labels")
    causes += validate_spec(template.get("spec"), "spec.template.spec")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in ("Never", "OnFailure"):
        causes.append(unsupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    return causes + _endless(obj, template)


def _endless(obj: Obj, template: Obj) -> list[Cause]:
    """Pods that are replaced for ever take no deadline. A Deployment's refusal speaks of the ReplicaSet it would make."""
    if "activeDeadlineSeconds" not in (template.get("spec") or {}):
        return []
    kind = "ReplicaSet" if obj.get("kind") == "Deployment" else obj.get("kind", "ReplicaSet")
    why = f"Forbidden: activeDeadlineSeconds in {kind} is not Supported"
    return [Cause("spec.template.spec.activeDeadlineSeconds", "FieldValueForbidden", why)]


def validate_selector(spec: Obj) -> list[Cause]:
    selector = spec.get("selector")
    if not isinstance(selector, dict):
        return [required("spec.selector")]
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [bad_value("spec.selector", selector, "empty selector is invalid for deployment")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selects(selector, labels):
        return [bad_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def not_negative(spec: Obj, key: str) -> list[Cause]:
    value = spec.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool):
        return [bad_value(f"spec.{key}", value, "must be a whole number")]
    return [] if value >= 0 else [bad_value(f"spec.{key}", value, "must be greater than or equal to 0")]


def _validate_deployment(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = (
        validate_replicated(obj) + not_negative(spec, "revisionHistoryLimit") + _validate_strategy(spec["strategy"])
    )
    deadline, settle = spec.get("progressDeadlineSeconds", 600), spec.get("minReadySeconds", 0)
    if not isinstance(deadline, int) or deadline <= settle:
        causes.append(bad_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return causes


def _validate_strategy(strategy: Any) -> list[Cause]:
    if not isinstance(strategy, dict) or strategy["type"] not in ("Recreate", "RollingUpdate"):
        return [unsupported("spec.strategy", strategy, ["Recreate", "RollingUpdate"])]
    if strategy["type"] == "Recreate":
        if "rollingUpdate" not in strategy:
            return []
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [Cause("spec.strategy.rollingUpdate", "FieldValueForbidden", f"Forbidden: {why}")]
    rolling, at = strategy["rollingUpdate"], "spec.strategy.rollingUpdate"
    causes = [c for key in ("maxUnavailable", "maxSurge") for c in share_causes(rolling[key], f"{at}.{key}")]
    if not causes and is_zero(rolling["maxUnavailable"]) and is_zero(rolling["maxSurge"]):
        causes.append(bad_value(f"{at}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"))
    return causes


def share_causes(value: Any, at: str) -> list[Cause]:
    """A number of pods, or a percentage."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [] if value >= 0 else [bad_value(at, value, "must be greater than or equal to 0")]
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return []
    return [bad_value(at, value, "must be an integer or percentage (e.g '5%')")]


def is_zero(value: Any) -> bool:
    return value == 0 or (isinstance(value, str) and int(value[:-1]) == 0)


def same_selector(new: Obj, old: Obj) -> list[Cause]:
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [bad_value("spec.selector", new["spec"].get("selector"), "field is immutable")]


def _spec_and_annotations(obj: Obj) -> Any:
    return obj["spec"], obj["metadata"].get("annotations")


DEPLOYMENT: Final = Rule(
    prepare_create=_create_deployment,
    prepare_update=_update_deployment,
    validate=_validate_deployment,
    validate_update=same_selector,
    with_status=status_and_annotations,
    counts=_spec_and_annotations,
)
REPLICA_SET: Final = Rule(
    prepare_create=_create_replica_set,
    prepare_update=_update_replica_set,
    validate=validate_replicated,
    validate_update=same_selector,
)
