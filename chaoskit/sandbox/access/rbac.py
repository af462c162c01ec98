"""Role-based access control: whether the roles in the store let a user do something. Reads the store; changes nothing.

Source: kubernetes.io, Using RBAC Authorization; k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac, restated; texts recorded on
Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from chaoskit.sandbox.access.identity import MASTERS, User
from chaoskit.sandbox.store import Obj, Store

_ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a verb on a resource, or on a path when `path` is set."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` tells which binding allows it, or which roles were not to be found."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """The rules that one binding gives a user, and how to name it. `missing` is the role that is not there."""

    rules: tuple[Obj, ...]
    told: str
    missing: str = ""


def decide(store: Store, user: User, asked: Attributes) -> Decision:
    if MASTERS in user.groups:
        return Decision(True)
    missing: list[str] = []
    for grant in grants(store, user, asked.namespace):
        if grant.missing:
            missing.append(grant.missing)
        elif any(rule_allows(rule, asked) for rule in grant.rules):
            return Decision(True, f"RBAC: allowed by {grant.told}")
    return Decision(False, f"RBAC: {', '.join(missing)}" if missing else "")


def grants(store: Store, user: User, namespace: str) -> Iterator[Grant]:
    """What bindings of the cluster, and of a namespace when one is given, hold for a user."""
    for version in store.items("clusterrolebindings"):
        if (subject := _subject(version.obj, user, "")) is not None:
            yield _grant(store, version.obj, subject)
    if not namespace:
        return
    for version in store.items("rolebindings", namespace):
        if (subject := _subject(version.obj, user, namespace)) is not None:
            yield _grant(store, version.obj, subject)


def rules_for(store: Store, user: User, namespace: str) -> tuple[list[Obj], list[str]]:
    """All rules that hold for a user, and the roles that were not to be found."""
    found, missing = [], []
    for grant in grants(store, user, namespace):
        found += list(grant.rules)
        missing += [grant.missing] if grant.missing else []
    return found, missing


def role_rules(store: Store, reference: Obj, namespace: str) -> tuple[Obj, ...] | None:
    """The rules of the role that a binding refers to; None when there is none."""
    cluster = reference["kind"] == "ClusterRole"
    found = store.get("clusterroles" if cluster else "roles", "" if cluster else namespace, reference["name"])
    return None if found is None else tuple(found.obj.get("rules") or ())


def _grant(store: Store, binding: Obj, subject: str) -> Grant:
    metadata, reference = binding["metadata"], binding["roleRef"]
    namespace = metadata.get("namespace", "")
    rules = role_rules(store, reference, namespace)
    if rules is None:
        return Grant((), "", f'{reference["kind"].lower()}.rbac.authorization.k8s.io "{reference["name"]}" not found')
    where = f"{metadata['name']}/{namespace}" if namespace else metadata["name"]
    return Grant(rules, f'{binding["kind"]} "{where}" of {reference["kind"]} "{reference["name"]}" to {subject}')


def _subject(binding: Obj, user: User, namespace: str) -> str | None:
    """How the binding's subject that is this user is named; None when none is."""
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "User" and name == user.name:
            return f'User "{name}"'
        if kind == "Group" and name in user.groups:
            return f'Group "{name}"'
        if kind == "ServiceAccount":
            where = subject.get("namespace") or namespace
            if user.name == f"system:serviceaccount:{where}:{name}":
                return f'ServiceAccount "{name}/{where}"'
    return None


def rule_allows(rule: Obj, asked: Attributes) -> bool:
    if not _has(rule.get("verbs"), asked.verb):
        return False
    if asked.path:
        return any(_covers_path(url, asked.path) for url in rule.get("nonResourceURLs") or ())
    return (
        _has(rule.get("apiGroups"), asked.group)
        and _covers_resource(rule.get("resources") or (), asked)
        and (not rule.get("resourceNames") or asked.name in rule["resourceNames"])
    )


def _has(listed: Any, wanted: str) -> bool:
    return bool(listed) and (_ALL in listed or wanted in listed)


def _covers_resource(resources: Any, asked: Attributes) -> bool:
    """`pods/*` is no wildcard; only `*` and `*/SUBRESOURCE` are (recorded)."""
    if _ALL in resources or asked.full_resource in resources:
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in resources


def _covers_path(url: str, path: str) -> bool:
    if url.endswith(_ALL):
        return path.startswith(url[:-1])
    return url == path


# -- granting


def not_held(wanted: list[Obj], held: list[Obj]) -> list[Obj]:
    """What of some rules is covered by none of those that are held: single permissions, brought together per resource."""
    lacking = [part for rule in wanted for part in _parts(rule) if not any(_contains(own, part) for own in held)]
    merged: dict[tuple[Any, ...], Obj] = {}
    for part in lacking:
        key = tuple((name, tuple(part[name])) for name in sorted(part) if name != "verbs")
        merged.setdefault(key, part | {"verbs": []})["verbs"].extend(part["verbs"])
    return [merged[key] for key in sorted(merged)]


def _parts(rule: Obj) -> Iterator[Obj]:
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                for name in rule.get("resourceNames") or ():
                    yield part | {"resourceNames": [name]}
                if not rule.get("resourceNames"):
                    yield part


def _contains(own: Obj, part: Obj) -> bool:
    if not _has(own.get("verbs"), part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        return any(_covers_path(url, part["nonResourceURLs"][0]) for url in own.get("nonResourceURLs") or ())
    resource, _, subresource = part["resources"][0].partition("/")
    asked = Attributes("", part["apiGroups"][0], resource, subresource, name=(part.get("resourceNames") or [""])[0])
    return rule_allows(own | {"verbs": [""]}, asked)


def shown(rule: Obj) -> str:
    """A rule as the message about an escalation prints it."""
    names = {"apiGroups": "APIGroups", "resources": "Resources", "resourceNames": "ResourceNames"}
    names |= {"nonResourceURLs": "NonResourceURLs", "verbs": "Verbs"}
    parts = [
        f"{title}:[{' '.join(_quoted(value) for value in rule[key])}]" for key, title in names.items() if rule.get(key)
    ]
    return "{" + ", ".join(parts) + "}"


def _quoted(text: str) -> str:
    return f'"{text}"'
