"""Who said yes and who said no: protected namespaces, opt-in, opt-out, control-plane nodes. Reads one object; refuses nothing.

label       chaoskit.dev/allow=true       on a namespace: experiments may touch what is in it
annotation  chaoskit.dev/opt-out: "true"  on a namespace, workload, pod or node: no experiment touches it
"""

from __future__ import annotations

import re

from chaoskit.model.resource import Obj

PROTECTED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""The namespaces of the cluster itself."""

ALLOW_LABEL = "chaoskit.dev/allow"
OPT_OUT_ANNOTATION = "chaoskit.dev/opt-out"

_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_PRODUCTION = re.compile(r"prod|(?<![a-z])live(?![a-z])", re.IGNORECASE)


def allows(namespace: Obj) -> bool:
    """Whether the namespace opted in."""
    return (namespace["metadata"].get("labels") or {}).get(ALLOW_LABEL) == "true"


def opted_out(obj: Obj) -> bool:
    """Whether the object says that it wants to be left alone."""
    return str((obj["metadata"].get("annotations") or {}).get(OPT_OUT_ANNOTATION, "")).lower() == "true"


def is_control_plane(node: Obj) -> bool:
    """Whether the node bears a control-plane role (kubernetes.io, Well-Known Labels: node-role.kubernetes.io/control-plane)."""
    return any(key in (node["metadata"].get("labels") or {}) for key in _CONTROL_PLANE)


def looks_like_production(*names: str) -> bool:
    """Whether a context or a server is called like production. Too many rather than too few: the price is a name to type."""
    return any(_PRODUCTION.search(name) for name in names)
