"""The protobuf bodies that kubectl sends since 1.32 when it creates something, read into objects. Reads only; answers are JSON.

Source: the field numbers of k8s.io/api's generated.proto, for what `kubectl create` and `kubectl auth` fill in;
the envelope is apimachinery's runtime.Unknown. A field outside the table is refused, never dropped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from chaoskit.sandbox.errors import bad_request, unsupported_media
from chaoskit.sandbox.store import Obj

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# A field is (name, form). Forms: s text, b flag, i number, n number that may be a meaningful zero, y bytes, m map of
# text, my map of bytes, x number or text, - skipped, else a message; a leading * means repeated.
_Field = tuple[str, str]
_MESSAGES: Final[dict[str, dict[int, _Field]]] = {
    "ObjectMeta": {
        1: ("name", "s"),
        2: ("generateName", "s"),
        3: ("namespace", "s"),
        4: ("selfLink", "-"),
        5: ("uid", "s"),
        6: ("resourceVersion", "s"),
        7: ("generation", "-"),
        8: ("creationTimestamp", "-"),
        11: ("labels", "m"),
        12: ("annotations", "m"),
        14: ("finalizers", "*s"),
        17: ("managedFields", "-"),
    },
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("spec", "NamespaceSpec"), 3: ("status", "-")},
    "NamespaceSpec": {1: ("finalizers", "*s")},
    "ConfigMap": {1: ("metadata", "ObjectMeta"), 2: ("data", "m"), 3: ("binaryData", "my"), 4: ("immutable", "b")},
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "my"),
        3: ("type", "s"),
        4: ("stringData", "m"),
        5: ("immutable", "b"),
    },
    "ServiceAccount": {1: ("metadata", "ObjectMeta")},
    "Service": {1: ("metadata", "ObjectMeta"), 2: ("spec", "ServiceSpec"), 3: ("status", "-")},
    "ServiceSpec": {
        1: ("ports", "*ServicePort"),
        2: ("selector", "m"),
        3: ("clusterIP", "s"),
        4: ("type", "s"),
        7: ("sessionAffinity", "s"),
        8: ("loadBalancerIP", "s"),
        10: ("externalName", "s"),
        11: ("externalTrafficPolicy", "s"),
        12: ("healthCheckNodePort", "i"),
        13: ("publishNotReadyAddresses", "b"),
    },
    "ServicePort": {
        1: ("name", "s"),
        2: ("protocol", "s"),
        3: ("port", "i"),
        4: ("targetPort", "x"),
        5: ("nodePort", "i"),
        6: ("appProtocol", "s"),
    },
    "Deployment": {1: ("metadata", "ObjectMeta"), 2: ("spec", "DeploymentSpec"), 3: ("status", "-")},
    "DeploymentSpec": {
        1: ("replicas", "n"),
        2: ("selector", "LabelSelector"),
        3: ("template", "PodTemplateSpec"),
        4: ("strategy", "DeploymentStrategy"),
        5: ("minReadySeconds", "i"),
        6: ("revisionHistoryLimit", "n"),
        7: ("paused", "b"),
        9: ("progressDeadlineSeconds", "n"),
    },
    "DeploymentStrategy": {1: ("type", "s")},
    "Job": {1: ("metadata", "ObjectMeta"), 2: ("spec", "JobSpec"), 3: ("status", "-")},
    "JobSpec": {
        1: ("parallelism", "n"),
        2: ("completions", "n"),
        3: ("activeDeadlineSeconds", "n"),
        4: ("selector", "LabelSelector"),
        5: ("manualSelector", "b"),
        6: ("template", "PodTemplateSpec"),
        7: ("backoffLimit", "n"),
        8: ("ttlSecondsAfterFinished", "n"),
        9: ("completionMode", "s"),
        10: ("suspend", "b"),
    },
    "PodDisruptionBudget": {1: ("metadata", "ObjectMeta"), 2: ("spec", "BudgetSpec"), 3: ("status", "-")},
    "BudgetSpec": {
        1: ("minAvailable", "x"),
        2: ("selector", "LabelSelector"),
        3: ("maxUnavailable", "x"),
        4: ("unhealthyPodEvictionPolicy", "s"),
    },
    "LabelSelector": {1: ("matchLabels", "m"), 2: ("matchExpressions", "*Requirement")},
    "Requirement": {1: ("key", "s"), 2: ("operator", "s"), 3: ("values", "*s")},
    "Role": {1: ("metadata", "ObjectMeta"), 2: ("rules", "*PolicyRule")},
    "ClusterRole": {1: ("metadata", "ObjectMeta"), 2: ("rules", "*PolicyRule"), 3: ("aggregationRule", "Aggregation")},
    "Aggregation": {1: ("clusterRoleSelectors", "*LabelSelector")},
    "PolicyRule": {
        1: ("verbs", "*s"),
        2: ("apiGroups", "*s"),
        3: ("resources", "*s"),
        4: ("resourceNames", "*s"),
        5: ("nonResourceURLs", "*s"),
    },
    "RoleBinding": {1: ("metadata", "ObjectMeta"), 2: ("subjects", "*Subject"), 3: ("roleRef", "RoleRef")},
    "ClusterRoleBinding": {1: ("metadata", "ObjectMeta"), 2: ("subjects", "*Subject"), 3: ("roleRef", "RoleRef")},
    "Subject": {1: ("kind", "s"), 2: ("apiGroup", "s"), 3: ("name", "s"), 4: ("namespace", "s")},
    "RoleRef": {1: ("apiGroup", "s"), 2: ("kind", "s"), 3: ("name", "s")},
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenRequestSpec"), 3: ("status", "-")},
    "TokenRequestSpec": {
        1: ("audiences", "*s"),
        3: ("boundObjectRef", "BoundObject"),
        4: ("expirationSeconds", "n"),
    },
    "BoundObject": {1: ("kind", "s"), 2: ("apiVersion", "s"), 3: ("name", "s"), 4: ("uid", "s")},
    "SelfSubjectReview": {1: ("metadata", "ObjectMeta"), 2: ("status", "-")},
    "SelfSubjectRulesReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectRulesReviewSpec"),
        3: ("status", "-"),
    },
    "SelfSubjectRulesReviewSpec": {1: ("namespace", "s")},
    "PodTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "PodSpec")},
    "PodSpec": {
        2: ("containers", "*Container"),
        3: ("restartPolicy", "s"),
        4: ("terminationGracePeriodSeconds", "n"),
        6: ("dnsPolicy", "s"),
        8: ("serviceAccountName", "s"),
        9: ("serviceAccount", "s"),
        10: ("nodeName", "s"),
        11: ("hostNetwork", "b"),
        12: ("hostPID", "b"),
        13: ("hostIPC", "b"),
        16: ("hostname", "s"),
        17: ("subdomain", "s"),
        19: ("schedulerName", "s"),
        24: ("priorityClassName", "s"),
    },
    "Container": {
        1: ("name", "s"),
        2: ("image", "s"),
        3: ("command", "*s"),
        4: ("args", "*s"),
        5: ("workingDir", "s"),
        6: ("ports", "*ContainerPort"),
        7: ("env", "*EnvVar"),
        8: ("resources", "ResourceRequirements"),
        13: ("terminationMessagePath", "s"),
        14: ("imagePullPolicy", "s"),
        16: ("stdin", "b"),
        17: ("stdinOnce", "b"),
        18: ("tty", "b"),
        20: ("terminationMessagePolicy", "s"),
    },
    "ResourceRequirements": {},
    "ContainerPort": {
        1: ("name", "s"),
        2: ("hostPort", "i"),
        3: ("containerPort", "i"),
        4: ("protocol", "s"),
        5: ("hostIP", "s"),
    },
    "EnvVar": {1: ("name", "s"), 2: ("value", "s")},
    "SelfSubjectAccessReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectAccessReviewSpec"),
        3: ("status", "-"),
    },
    "SelfSubjectAccessReviewSpec": {1: ("resourceAttributes", "Attributes"), 2: ("nonResourceAttributes", "Path")},
    "Attributes": {
        1: ("namespace", "s"),
        2: ("verb", "s"),
        3: ("group", "s"),
        4: ("version", "s"),
        5: ("resource", "s"),
        6: ("subresource", "s"),
        7: ("name", "s"),
    },
    "Path": {1: ("path", "s"), 2: ("verb", "s")},
}


def decode(body: bytes) -> Obj:
    """The object in an envelope. Raises ApiError 400 for bytes that are none, 415 for what the table does not hold."""
    if not body.startswith(_MAGIC):
        raise bad_request("the request body is not a Kubernetes protobuf object")
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        head = {number: bytes(value).decode() for number, value in _fields(envelope[1])}
        kind = head[2]
        if kind not in _MESSAGES:
            raise unsupported_media(f"{kind} as protobuf is not supported; send JSON")
        return {"apiVersion": head[1], "kind": kind} | _message(kind, envelope.get(2, b""))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise bad_request(f"the request body is not a Kubernetes protobuf object: {error!r}") from error


def _message(name: str, raw: bytes) -> Obj:
    found: Obj = {}
    for number, value in _fields(raw):
        field = _MESSAGES[name].get(number)
        if field is None:
            raise unsupported_media(f"field {number} of {name} as protobuf is not supported; send JSON")
        _put(found, *field, value)
    return found


def _put(found: Obj, key: str, form: str, value: Any) -> None:
    """Add one field. Go writes zeros that mean nothing; only of `n` is a zero a value."""
    if form.startswith("*"):
        found.setdefault(key, []).append(_value(form[1:], value))
    elif form in ("m", "my"):
        entry = dict(_fields(value))
        name, content = bytes(entry.get(1, b"")).decode(), bytes(entry.get(2, b""))
        found.setdefault(key, {})[name] = _value("s" if form == "m" else "y", content)
    elif form != "-":
        read = _value(form, value)
        if read or isinstance(read, dict) or form == "n":
            found[key] = read


def _value(form: str, value: Any) -> Any:
    if form == "s":
        return bytes(value).decode()
    if form == "y":
        return base64.b64encode(bytes(value)).decode()
    if form == "b":
        return bool(value)
    if form in ("i", "n"):
        return value - (1 << 64) if value >> 63 else value
    if form == "x":
        parts = dict(_fields(value))
        return bytes(parts.get(3, b"")).decode() if parts.get(1) else parts.get(2, 0)
    return _message(form, value)


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with what they hold: numbers, or bytes."""
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        wire = tag & 7
        if wire == _VARINT:
            value, position = _varint(raw, position)
            yield tag >> 3, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if length is None:
            if wire != _BYTES:
                raise ValueError(f"wire type {wire}")
            length, position = _varint(raw, position)
        if position + length > len(raw):
            raise ValueError("it ends too early")
        yield tag >> 3, raw[position : position + length]
        position += length


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if not byte & 0x80:
            return value, position
        shift += 7
