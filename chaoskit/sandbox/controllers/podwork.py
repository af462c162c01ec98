"""What every workload does with its pods: builds them from a template, makes them, deletes them, tells both in events.

Decides nothing about how many or which. Texts of the events as recorded on a real cluster.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers.ownership import owner_reference
from chaoskit.sandbox.events import record
from chaoskit.sandbox.registry import ApiError, Registry, thaw

Obj = dict[str, Any]


def pod_from(owner: Obj, template: Obj | None = None) -> Obj:
    """The pod a workload makes from its template: generated name, labels, annotations, controller reference."""
    template = thaw(owner["spec"]["template"] if template is None else template)
    told = template.get("metadata") or {}
    metadata = {key: told[key] for key in ("labels", "annotations", "finalizers") if told.get(key)}
    metadata |= {"generateName": f"{owner['metadata']['name']}-", "ownerReferences": [owner_reference(owner)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def create_pod(registry: Registry, owner: Obj, pod: Obj, actor: str) -> str | None:
    """Make one pod; answers the API's message when it is refused, which is told as FailedCreate."""
    try:
        made = registry.create("pods", owner["metadata"]["namespace"], pod, actor=actor)
    except ApiError as error:
        return _refused(registry, owner, error, actor)
    record(registry, owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", actor)
    return None


def _refused(registry: Registry, owner: Obj, error: ApiError, actor: str) -> str | None:
    """In a namespace that is going away there is nothing to try again."""
    causes = (error.status.get("details") or {}).get("causes") or ()
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return None
    message = str(error.status.get("message", error))
    record(registry, owner, "Warning", "FailedCreate", f"Error creating: {message}", actor)
    return message


def delete_pod(registry: Registry, owner: Obj, pod: Obj, actor: str, *, text: str = "") -> bool:
    """Delete one pod, if it is still that one; answers whether it was. `text` replaces the event's usual one."""
    metadata = pod["metadata"]
    try:
        registry.delete("pods", metadata["namespace"], metadata["name"], actor=actor, uid=metadata["uid"])
    except ApiError as error:
        if error.code not in (404, 409):
            raise
        return False
    record(registry, owner, "Normal", "SuccessfulDelete", text or f"Deleted pod: {metadata['name']}", actor)
    return True
