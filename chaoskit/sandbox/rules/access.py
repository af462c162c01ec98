"""Roles, bindings and their rules: defaults and validation. Works on private copies; grants nothing.

Source: k8s.io/kubernetes pkg/apis/rbac/validation/validation.go, restated; texts recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, required, unsupported
from chaoskit.sandbox.rules.rule import Admission, Rule
from chaoskit.sandbox.store import Obj

GROUP: Final = "rbac.authorization.k8s.io"
_SUBJECTS: Final = {"ServiceAccount": "", "User": GROUP, "Group": GROUP}
_ROLES: Final = ("ClusterRole", "Role")


def _default_role(obj: Obj, admission: Admission) -> None:
    obj.setdefault("rules", [])


def _default_binding(obj: Obj, admission: Admission) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        reference.setdefault("apiGroup", GROUP)
    for subject in obj.get("subjects") or ():
        if group := _SUBJECTS.get(subject.get("kind", "")):
            subject.setdefault("apiGroup", group)


def _validate_rules(obj: Obj, *, namespaced: bool) -> list[Cause]:
    causes: list[Cause] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        causes += _validate_rule(rule, f"rules[{index}]", namespaced)
    return causes


def _validate_rule(rule: Obj, at: str, namespaced: bool) -> list[Cause]:
    causes = [] if rule.get("verbs") else [required(f"{at}.verbs", "verbs must contain at least one value")]
    if urls := rule.get("nonResourceURLs"):
        if namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            causes.append(bad_value(f"{at}.nonResourceURLs", urls, why))
        if any(rule.get(key) for key in ("apiGroups", "resources", "resourceNames")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(bad_value(f"{at}.nonResourceURLs", urls, why))
        return causes
    if not rule.get("apiGroups"):
        causes.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return causes


def _validate_binding(obj: Obj, roles: tuple[str, ...], *, namespaced: bool) -> list[Cause]:
    reference: Any = obj.get("roleRef")
    reference = reference if isinstance(reference, dict) else {}
    causes: list[Cause] = []
    if reference.get("apiGroup") != GROUP:
        causes.append(unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), [GROUP]))
    if reference.get("kind") not in roles:
        causes.append(unsupported("roleRef.kind", reference.get("kind", ""), roles))
    if not reference.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(obj.get("subjects") or ()):
        causes += _validate_subject(subject, f"subjects[{index}]", namespaced)
    return causes


def _validate_subject(subject: Obj, at: str, namespaced: bool) -> list[Cause]:
    causes = [] if subject.get("name") else [required(f"{at}.name")]
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        return [*causes, unsupported(f"{at}.kind", kind, list(_SUBJECTS))]
    if subject.get("apiGroup", "") != _SUBJECTS[kind]:
        causes.append(unsupported(f"{at}.apiGroup", subject.get("apiGroup", ""), [_SUBJECTS[kind]]))
    if kind == "ServiceAccount" and not subject.get("namespace") and not namespaced:
        causes.append(required(f"{at}.namespace"))
    return causes


def _same_role(new: Obj, old: Obj) -> list[Cause]:
    if new.get("roleRef") == old.get("roleRef"):
        return []
    return [bad_value("roleRef", new.get("roleRef"), "cannot change roleRef")]


ROLE: Final = Rule(
    prepare_create=_default_role,
    prepare_update=lambda new, old, admission: _default_role(new, admission),
    validate=lambda obj: _validate_rules(obj, namespaced=True),
)
CLUSTER_ROLE: Final = Rule(
    prepare_create=_default_role,
    prepare_update=lambda new, old, admission: _default_role(new, admission),
    validate=lambda obj: _validate_rules(obj, namespaced=False),
)
ROLE_BINDING: Final = Rule(
    prepare_create=_default_binding,
    prepare_update=lambda new, old, admission: _default_binding(new, admission),
    validate=lambda obj: _validate_binding(obj, _ROLES, namespaced=True),
    validate_update=_same_role,
)
CLUSTER_ROLE_BINDING: Final = Rule(
    prepare_create=_default_binding,
    prepare_update=lambda new, old, admission: _default_binding(new, admission),
    validate=lambda obj: _validate_binding(obj, ("ClusterRole",), namespaced=False),
    validate_update=_same_role,
)
