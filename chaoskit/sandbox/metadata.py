"""ObjectMeta: what the server sets, keeps and refuses. Works on private copies; commits nothing.

Source: apiserver pkg/registry/rest/{create,update}.go, apimachinery pkg/api/validation/objectmeta.go, restated.
"""

from __future__ import annotations

import random
import re
import uuid
from typing import Any, Final

from chaoskit.sandbox import clock
from chaoskit.sandbox.errors import Cause, bad_request, bad_value, field_forbidden, required
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.normalise import METADATA_ORDER as ORDER

Obj = dict[str, Any]

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED: Final = 58
_LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_LABEL_1035: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_SUBDOMAIN: Final = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_QUALIFIED: Final = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$")
_LABEL_VALUE: Final = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$")
_OWNED_BY_SERVER: Final = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
)

SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
LABEL_1035_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)


def is_label(text: str) -> bool:
    return bool(_LABEL.match(text))


def is_label_1035(text: str) -> bool:
    return bool(_LABEL_1035.match(text))


def is_subdomain(text: str) -> bool:
    return len(text) <= 253 and bool(_SUBDOMAIN.match(text))


def is_qualified_name(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    return (not slash or is_subdomain(prefix)) and bool(_QUALIFIED.match(name))


def suffix(rng: random.Random | None = None) -> str:
    """Five characters of the alphabet that spells no words."""
    return "".join((rng or random).choices(SUFFIX_ALPHABET, k=5))


def stamp_new(obj: Obj, kind: Kind, namespace: str) -> None:
    """Fill in what the server decides on a create. Raises ApiError 400 when the namespaces disagree."""
    metadata = obj["metadata"]
    if kind.namespaced:
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    for key in _OWNED_BY_SERVER:
        metadata.pop(key, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = clock.stamp()
    if kind.generation:
        metadata["generation"] = 1


def generate_name(obj: Obj) -> bool:
    """Give an object that asks for it a generated name. False when it carries its own."""
    metadata = obj["metadata"]
    if metadata.get("name") or not metadata.get("generateName"):
        return False
    metadata["name"] = metadata["generateName"][:_MAX_GENERATED] + suffix()
    return True


def arrange(obj: Obj) -> None:
    """Put the members of a private copy's metadata in the usual order, with room for the revision to come."""
    given = obj["metadata"] | {"resourceVersion": ""}
    obj["metadata"] = {key: given[key] for key in ORDER if key in given}


def keep_server_fields(new: Obj, old: Obj) -> None:
    """On an update: what a client cannot change is what it was, also when the client left it out."""
    metadata = new["metadata"]
    for key in (*_OWNED_BY_SERVER, "name", "namespace", "generateName"):
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
        else:
            metadata.pop(key, None)


def validate(obj: Obj, kind: Kind) -> list[Cause]:
    metadata = obj["metadata"]
    causes = _validate_name(metadata, kind)
    causes += _validate_labels(metadata.get("labels", {}), "metadata.labels")
    causes += _validate_annotations(metadata.get("annotations", {}))
    for index, owner in enumerate(metadata.get("ownerReferences", ())):
        where = f"metadata.ownerReferences[{index}]"
        causes += [
            required(f"{where}.{key}", "must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
    return causes


def validate_update(new: Obj, old: Obj) -> list[Cause]:
    """An object that is being deleted takes no new finalizer (apimachinery, api/validation/objectmeta.go)."""
    if "deletionTimestamp" not in old["metadata"]:
        return []
    kept = old["metadata"].get("finalizers", ())
    added = [name for name in new["metadata"].get("finalizers", ()) if name not in kept]
    if not added:
        return []
    found = ", ".join(f'"{name}"' for name in added)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{found}}}"
    return [field_forbidden("metadata.finalizers", why)]


def _validate_name(metadata: Obj, kind: Kind) -> list[Cause]:
    name = metadata.get("name", "")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if kind.group == "rbac.authorization.k8s.io":
        return _validate_segment(name)
    if kind.plural == "namespaces":
        return [] if is_label(name) else [bad_value("metadata.name", name, LABEL_RULE)]
    if kind.plural == "services":
        return [] if is_label_1035(name) else [bad_value("metadata.name", name, LABEL_1035_RULE)]
    return [] if is_subdomain(name) else [bad_value("metadata.name", name, SUBDOMAIN_RULE)]


def _validate_segment(name: str) -> list[Cause]:
    """Roles and their bindings may have any name that fits into a path."""
    if name in (".", ".."):
        return [bad_value("metadata.name", name, f"may not be '{name}'")]
    return [bad_value("metadata.name", name, f"may not contain '{sign}'") for sign in "/%" if sign in name]


def _validate_labels(labels: Any, where: str) -> list[Cause]:
    if not isinstance(labels, dict):
        return [bad_value(where, labels, "must be a map of strings")]
    causes = []
    for key, value in labels.items():
        if not is_qualified_name(key):
            causes.append(bad_value(where, key, "name part must consist of alphanumeric characters, '-', '_' or '.'"))
        if not isinstance(value, str) or not _LABEL_VALUE.match(value):
            causes.append(
                bad_value(
                    where,
                    value,
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'",
                )
            )
    return causes


def _validate_annotations(annotations: Any) -> list[Cause]:
    where = "metadata.annotations"
    if not isinstance(annotations, dict):
        return [bad_value(where, annotations, "must be a map of strings")]
    causes = [
        bad_value(where, key, "name part must consist of alphanumeric characters")
        for key in annotations
        if not is_qualified_name(key.lower())
    ]
    causes += [
        bad_value(f"{where}.{key}", value, "must be a string")
        for key, value in annotations.items()
        if not isinstance(value, str)
    ]
    return causes


def validate_labels(labels: Any, where: str) -> list[Cause]:
    """Causes for labels elsewhere than in metadata: a selector, a template."""
    return _validate_labels(labels, where)
