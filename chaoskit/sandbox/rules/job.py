"""Jobs: defaults, the selector made from the uid, validation, what may change later. Works on private copies.

Source: k8s.io/kubernetes pkg/apis/batch/{v1/defaults,validation/validation}.go and pkg/registry/batch/job/strategy.go,
restated; defaults recorded on 1.36.2.
"""

from __future__ import annotations

from typing import Final

from chaoskit.sandbox.errors import Cause, bad_value, required, unsupported
from chaoskit.sandbox.metadata import validate_labels
from chaoskit.sandbox.rules import podspec
from chaoskit.sandbox.rules.podcheck import validate_spec
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status
from chaoskit.sandbox.rules.workload import not_negative
from chaoskit.sandbox.store import Obj

NO_LIMIT: Final = 2**31 - 1
PREFIX: Final = "batch.kubernetes.io/"
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_COUNTS: Final = (
    "parallelism",
    "completions",
    "backoffLimit",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_FIXED: Final = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def _default(obj: Obj) -> Obj:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else NO_LIMIT)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    for rule in _rules(spec):
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            _default_pod(template["spec"])
    return spec


def _default_pod(spec: Obj) -> None:
    """Like any pod's; the restart policy alone has to be said, and "Always" is refused."""
    podspec.set_defaults(spec)


def _rules(spec: Obj) -> list[Obj]:
    policy = spec.get("podFailurePolicy")
    rules = policy.get("rules") if isinstance(policy, dict) else None
    return [rule for rule in rules or () if isinstance(rule, dict)]


def _create(obj: Obj, admission: Admission) -> None:
    spec, metadata = _default(obj), obj["metadata"]
    template = spec.get("template")
    if isinstance(template, dict) and not spec["manualSelector"]:
        uid, name = metadata["uid"], metadata.get("name", "")
        owner = {"controller-uid": uid, "job-name": name}
        marks = owner | {PREFIX + key: value for key, value in owner.items()}
        template["metadata"]["labels"] = (template["metadata"].get("labels") or {}) | marks
        spec["selector"] = {"matchLabels": {f"{PREFIX}controller-uid": uid}}
        metadata.setdefault("labels", dict(template["metadata"]["labels"]))
    obj["status"] = {}


def _update(new: Obj, old: Obj, admission: Admission) -> None:
    _default(new)
    keep_status(new, old)


def _validate(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = [cause for key in _COUNTS if spec.get(key) is not None for cause in not_negative(spec, key)]
    if spec["completionMode"] not in ("Indexed", "NonIndexed"):
        causes.append(unsupported("spec.completionMode", spec["completionMode"], ["Indexed", "NonIndexed"]))
    if spec["completionMode"] == "Indexed" and spec.get("completions") is None:
        causes.append(required("spec.completions", "when completion mode is Indexed"))
    if spec["podReplacementPolicy"] not in ("Failed", "TerminatingOrFailed"):
        policy = spec["podReplacementPolicy"]
        causes.append(unsupported("spec.podReplacementPolicy", policy, ["Failed", "TerminatingOrFailed"]))
    return causes + _validate_rules(spec) + _validate_template(spec)


def _validate_rules(spec: Obj) -> list[Cause]:
    causes = []
    for place, rule in enumerate(_rules(spec)):
        at = f"spec.podFailurePolicy.rules[{place}]"
        if rule.get("action") not in _ACTIONS:
            causes.append(unsupported(f"{at}.action", rule.get("action", ""), _ACTIONS))
        if bool(rule.get("onExitCodes")) is bool(rule.get("onPodConditions")):
            causes.append(bad_value(at, "", "specifying one of OnExitCodes and OnPodConditions is required"))
    return causes


def _validate_template(spec: Obj) -> list[Cause]:
    template, at = spec.get("template"), "spec.template"
    if not isinstance(template, dict):
        return [required(at)]
    causes = validate_labels(template["metadata"].get("labels", {}), f"{at}.labels")
    causes += validate_spec(template.get("spec"), f"{at}.spec")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        why = 'Required value: valid values: "OnFailure", "Never"'
        causes.append(Cause(f"{at}.spec.restartPolicy", "FieldValueRequired", why))
    elif policy == "OnFailure" and spec.get("podFailurePolicy"):
        why = "only 'Never' is supported when podFailurePolicy is specified"
        causes.append(bad_value(f"{at}.spec.restartPolicy", policy, why))
    return causes


def _validate_update(new: Obj, old: Obj) -> list[Cause]:
    after, before = new["spec"], old["spec"]
    causes = [_immutable(key, after) for key in _FIXED if after.get(key) != before.get(key)]
    if after.get("completions") != before.get("completions") and not _is_elastic(after):
        causes.append(_immutable("completions", after))
    if after.get("template") != before.get("template") and not _may_reschedule(before, old):
        causes.append(_immutable("template", after))
    return causes


def _immutable(key: str, spec: Obj) -> Cause:
    return bad_value(f"spec.{key}", spec.get(key), "field is immutable")


def _is_elastic(spec: Obj) -> bool:
    """An Indexed Job may change size as long as completions and parallelism stay equal."""
    return bool(spec["completionMode"] == "Indexed" and spec.get("completions") == spec.get("parallelism"))


def _may_reschedule(before: Obj, old: Obj) -> bool:
    """The template of a suspended Job that never started may still change."""
    return bool(before.get("suspend")) and not old.get("status", {}).get("startTime")


JOB: Final = Rule(prepare_create=_create, prepare_update=_update, validate=_validate, validate_update=_validate_update)
