"""Whether a node could take a pod, as far as the objects at hand tell: readiness, cordon, taints, node selector. Never counts resources.

Sources: kubernetes.io, Taints and Tolerations; Assigning Pods to Nodes; upstream component-helpers/scheduling/corev1 (ToleratesTaint).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.model.resource import Obj
from chaoskit.semantics.pods import is_true
from chaoskit.semantics.selectors import labels_of

_REPELS = ("NoSchedule", "NoExecute")


def others_for(pod: Obj, nodes: Iterable[Obj]) -> Sequence[Obj]:
    """The nodes other than its own that could take a replacement of the pod."""
    own = pod["spec"].get("nodeName")
    return [node for node in nodes if node["metadata"]["name"] != own and takes(node, pod)]


def takes(node: Obj, pod: Obj) -> bool:
    """Whether the node is Ready, not cordoned, tolerated, and selected by the pod's nodeSelector."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable") or not is_true(node, "Ready"):
        return False
    labels, wanted = labels_of(node), pod["spec"].get("nodeSelector") or {}
    tolerations = pod["spec"].get("tolerations") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        any(_tolerates(toleration, taint) for toleration in tolerations)
        for taint in spec.get("taints") or ()
        if taint.get("effect") in _REPELS
    )


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint["key"]
    return bool(toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or ""))
