"""Rights as Kubernetes roles in YAML: the smallest ones, each with an example of its binding. Renders; asks nobody and grants nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from chaoskit.model.operation import Right

_API = "rbac.authorization.k8s.io"


def render_roles(rights: Iterable[Right], name: str, told: Sequence[str]) -> str:
    """One Role for each namespace and, where something lies in none, a ClusterRole; each bound to a ServiceAccount `chaoskit`. `told` becomes comments."""
    found = without_implied(rights)
    places = sorted({right.namespace for right in found if right.namespace})
    account = {"kind": "ServiceAccount", "name": "chaoskit", "namespace": places[0] if places else "default"}
    documents: list[Mapping[str, Any]] = []
    for place in places:
        documents += _bound("Role", name, place, [right for right in found if right.namespace == place], account)
    everywhere = [right for right in found if not right.namespace]
    if everywhere:
        documents += _bound("ClusterRole", name, "", everywhere, account)
    comments = "".join(f"# {line}\n" for line in told)
    return comments + "---\n".join(yaml.safe_dump(document, sort_keys=False, width=100) for document in documents)


def without_implied(rights: Iterable[Right]) -> frozenset[Right]:
    """Without those in a namespace that are granted everywhere anyway."""
    found = frozenset(rights)
    everywhere = {(right.verb, right.group, right.resource) for right in found if not right.namespace}
    return frozenset(
        right for right in found if not right.namespace or (right.verb, right.group, right.resource) not in everywhere
    )


def rules(rights: Iterable[Right]) -> list[dict[str, list[str]]]:
    """The rules of a role: resources with the same group and verbs together, sorted."""
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for right in rights:
        verbs[right.group, right.resource].add(right.verb)
    together: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), allowed in sorted(verbs.items()):
        together[group, tuple(sorted(allowed))].append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(allowed)}
        for (group, allowed), resources in together.items()
    ]


def _bound(
    kind: str, name: str, place: str, rights: Iterable[Right], account: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    meta = {"name": name, "namespace": place} if place else {"name": name}
    head = {"apiVersion": f"{_API}/v1"}
    return [
        {**head, "kind": kind, "metadata": dict(meta), "rules": rules(rights)},
        {
            **head,
            "kind": f"{kind}Binding",
            "metadata": dict(meta),
            "roleRef": {"apiGroup": _API, "kind": kind, "name": name},
            "subjects": [dict(account)],
        },
    ]
