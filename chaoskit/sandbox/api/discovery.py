"""Which resources there are, in the three dialects that clients ask for. Reads the table of kinds only.

Aggregated discovery (v2, v2beta1) serves kubectl, the older lists serve client libraries.
Source: kubernetes.io, The Kubernetes API, Discovery API.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from chaoskit.sandbox.api.reviews import AUTHENTICATION, AUTHORIZATION, REVIEWS, Review
from chaoskit.sandbox.kinds import EVENTS_VIEW, VERBS, Kind, groups

Json = dict[str, Any]
_REVIEW_GROUPS: Final = (AUTHENTICATION, AUTHORIZATION)

VERSION: Final[Json] = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2+chaoskit-sandbox",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
_AGGREGATED: Final = {"v2": "apidiscovery.k8s.io/v2", "v2beta1": "apidiscovery.k8s.io/v2beta1"}
_SUBRESOURCE_KINDS: Final[dict[str, tuple[str, str, str, tuple[str, ...]]]] = {
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "proxy": ("", "v1", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
    "log": ("", "v1", "Pod", ("get",)),
    "finalize": ("", "v1", "Namespace", ("update",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}
_EVENT_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "watch")


def aggregated_version(accept: str) -> str | None:
    """The dialect of aggregated discovery that a client prefers; None when it wants the older lists."""
    for part in accept.split(","):
        options = {key.strip(): value for key, _, value in (item.partition("=") for item in part.split(";"))}
        if options.get("as") == "APIGroupDiscoveryList" and options.get("v") in _AGGREGATED:
            return options["v"]
        if part.strip() == "application/json":
            return None
    return None


def aggregated_media(version: str) -> str:
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def aggregated(version: str, *, core: bool) -> Json:
    """APIGroupDiscoveryList of the core group, or of all others."""
    items = [_group(group, number, kinds) for (group, number), kinds in groups().items() if (group == "") is core]
    if not core:
        items += [_reviews_group(group) for group in _REVIEW_GROUPS]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": _AGGREGATED[version], "metadata": {}, "items": items}


def _group(group: str, version: str, kinds: Iterable[Kind]) -> Json:
    resources = [_aggregated_resource(kind) for kind in sorted(kinds, key=lambda kind: kind.plural)]
    versions = [{"version": version, "resources": resources, "freshness": "Current"}]
    return {"metadata": {"name": group} if group else {}, "versions": versions}


def _aggregated_resource(kind: Kind) -> Json:
    found: Json = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(_verbs(kind)),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [_aggregated_subresource(kind, name) for name in kind.subresources]
    return found


def _aggregated_subresource(kind: Kind, name: str) -> Json:
    group, version, answer, verbs = _subresource(kind, name)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": answer},
        "verbs": list(verbs),
    }


def _subresource(kind: Kind, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    return _SUBRESOURCE_KINDS.get(name, (kind.group, kind.version, kind.kind, ("get", "patch", "update")))


def _verbs(kind: Kind) -> tuple[str, ...]:
    return _EVENT_VERBS if kind is EVENTS_VIEW else VERBS


def _reviews_group(group: str) -> Json:
    resources = [
        {
            "resource": review.plural,
            "responseKind": {"group": group, "version": "v1", "kind": review.kind},
            "scope": "Namespaced" if review.namespaced else "Cluster",
            "singularResource": review.kind.lower(),
            "verbs": ["create"],
        }
        for review in _reviews_of(group)
    ]
    return {
        "metadata": {"name": group},
        "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}],
    }


def _reviews_of(group: str) -> list[Review]:
    return [review for review in REVIEWS.values() if review.group == group]


def core_versions(server: str) -> Json:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server.removeprefix("https://")}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def group_list() -> Json:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group_entry(*pair) for pair in _named_groups()]}


def group_entry(group: str) -> Json | None:
    """APIGroup of one group; None for one that is not served."""
    found = next((pair for pair in _named_groups() if pair[0] == group), None)
    return None if found is None else {"kind": "APIGroup", "apiVersion": "v1"} | _group_entry(*found)


def _named_groups() -> list[tuple[str, str]]:
    return [pair for pair in groups() if pair[0]] + [(group, "v1") for group in _REVIEW_GROUPS]


def _group_entry(group: str, version: str) -> Json:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def resource_list(group: str, version: str) -> Json | None:
    """APIResourceList of one group and version; None for one that is not served."""
    if group in _REVIEW_GROUPS and version == "v1":
        entries = [_entry(each.plural, each.kind, each.namespaced, ("create",)) for each in _reviews_of(group)]
    elif (group, version) in groups():
        entries = [entry for kind in groups()[group, version] for entry in _entries(kind)]
    else:
        return None
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _entries(kind: Kind) -> list[Json]:
    main = _entry(kind.plural, kind.kind, kind.namespaced, _verbs(kind)) | {"singularName": kind.singular}
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    return [main, *(_subresource_entry(kind, name) for name in kind.subresources)]


def _subresource_entry(kind: Kind, name: str) -> Json:
    group, version, answer, verbs = _subresource(kind, name)
    entry = _entry(f"{kind.plural}/{name}", answer, kind.namespaced, verbs)
    return entry if (group, version) == (kind.group, kind.version) else entry | {"group": group, "version": version}


def _entry(name: str, kind: str, namespaced: bool, verbs: Iterable[str]) -> Json:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": list(verbs)}
