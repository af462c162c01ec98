"""Whether a condition holds now: one look each. Changes nothing, waits for nothing."""

from __future__ import annotations

from chaoskit.cluster.address import path_of, proxied
from chaoskit.cluster.execution import executed
from chaoskit.cluster.patch import same, value_at
from chaoskit.cluster.transport import Transport
from chaoskit.model.errors import NotFound
from chaoskit.model.operation import Exec
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.step import Answers, Condition, Exits, FieldIs, Gone


async def holds(transport: Transport, condition: Condition) -> bool:
    """One look. What is said of an object that is not there is false, except that it is gone. Raises ClusterError when the server cannot be asked."""
    live = await _living(transport, condition.ref)
    match condition:
        case Gone():
            return live is None
        case FieldIs(path=path, value=value):
            return live is not None and same(value_at(live, path), value)
        case Answers():
            return live is not None and await _answers(transport, condition)
        case Exits(ref, container, argv, code):
            return live is not None and (await executed(transport.access, Exec(ref, container, argv))).code == code


async def _living(transport: Transport, ref: Ref) -> Obj | None:
    """The object, unless the name belongs to another by now."""
    try:
        live: Obj = await transport.read(path_of(ref))
    except NotFound:
        return None
    return live if not ref.uid or live["metadata"]["uid"] == ref.uid else None


async def _answers(transport: Transport, condition: Answers) -> bool:
    answer = await transport.glance(proxied(condition.ref, condition.port, condition.path))
    # The API server's own complaint that the pod cannot be reached must not pass for the pod's answer.
    from_the_server = (
        isinstance(answer.body, dict) and answer.body.get("kind") == "Status" and "apiVersion" in answer.body
    )
    return answer.status == condition.status and not from_the_server
