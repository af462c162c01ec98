"""Random experiments on a fake cluster in which much is protected, and what of it was written to: it must be nothing. Counts; asserts nothing.

The full enumeration, by hand: `python -m tests.safety.forbidden 10000` (about three minutes on one core).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_liveness import FailLiveness
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import ExecSwitch
from chaoskit.model.errors import ChaosError
from chaoskit.model.experiment import Experiment, Guards, Phases
from chaoskit.model.operation import Evict
from chaoskit.model.plan import Grounds
from chaoskit.model.resource import Obj
from chaoskit.model.seams import Fault
from chaoskit.model.target import Target
from chaoskit.runner.plan import plan
from chaoskit.runner.run import Run
from chaoskit.semantics.consent import ALLOW_LABEL, OPT_OUT_ANNOTATION, PROTECTED_NAMESPACES
from chaoskit.slos import parse_slo
from tests.fake_cluster import FakeCluster, Sent
from tests.live_runs import MemoryJournal
from tests.virtual_time import run_virtual

SPACES = ("shop", "bank", "private", "kube-system", "kube-public")
APPS = ("checkout", "storefront", "lonely")
OPT_OUT = {OPT_OUT_ANNOTATION: "true"}


@dataclass
class Attempt:
    """One random experiment: how it ended, and the requests that reached what is protected."""

    seed: int
    said: str = ""
    sent: list[Sent] = field(default_factory=list)
    trespasses: list[str] = field(default_factory=list)


def world(dice: random.Random) -> FakeCluster:
    """Three applications in each of five namespaces, four nodes of which one is of the control plane, and opt-outs here and there."""
    cluster = FakeCluster(latency_s=0.001)
    for number in range(1, 5):
        labels = {"node-role.kubernetes.io/control-plane": ""} if number == 1 else {}
        meta = {"name": f"node-{number}", "labels": labels, "annotations": OPT_OUT if dice.random() < 0.1 else {}}
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        cluster.store.put("Node", {"metadata": meta, "spec": {}, "status": ready})
    for space in SPACES:
        allowed = {ALLOW_LABEL: "true"} if space in ("shop", "bank") else {}
        if space in PROTECTED_NAMESPACES and dice.random() < 0.5:
            allowed = {ALLOW_LABEL: "true"}  # even then
        annotations = OPT_OUT if dice.random() < 0.05 else {}
        cluster.store.put("Namespace", {"metadata": {"name": space, "labels": allowed, "annotations": annotations}})
        for app in APPS:
            _deploy(cluster, dice, space, app)
    return cluster


def _deploy(cluster: FakeCluster, dice: random.Random, space: str, app: str) -> None:
    labels = {"app": app, "tier": dice.choice(("front", "back"))}
    meta = {"name": app, "namespace": space, "labels": labels, "annotations": OPT_OUT if dice.random() < 0.15 else {}}
    template: dict[str, Any] = {
        "metadata": {"labels": labels, "annotations": {"chaoskit.dev/switch-port": "9090"}},
        "spec": {"containers": [{"name": "app", "image": "python"}], "terminationGracePeriodSeconds": 1},
    }
    replicas = 1 if app == "lonely" else dice.randint(2, 4)
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    deployment = cluster.store.put("Deployment", {"metadata": {**meta, "generation": 1}, "spec": spec})
    cluster.world.roll_out(deployment, ready=dice.random() < 0.95)
    if dice.random() < 0.2:
        pod = dice.choice(cluster.store.of("Pod", space, f"app={app}"))
        cluster.store.put(
            "Pod",
            {**pod, "metadata": {**pod["metadata"], "annotations": {**template["metadata"]["annotations"], **OPT_OUT}}},
        )


def random_target(dice: random.Random, cluster: FakeCluster) -> Target:
    """Any kind, in any namespace, protected ones included."""
    space, app = dice.choice(("shop", "shop", "bank", *SPACES)), dice.choice(APPS)
    pick = dice.choice((1, 1, 2, 3, "50%", "99%", "all", "oldest"))
    pods = cluster.store.of("Pod", space)
    made: dict[str, Callable[[], Target]] = {
        "deployment": lambda: Target(namespace=space, deployment=app, pick=pick),
        "replicaSet": lambda: Target(
            namespace=space, replica_set=cluster.store.of("ReplicaSet", space)[0]["metadata"]["name"], pick=pick
        ),
        "pod": lambda: Target(namespace=space, pod=dice.choice(pods)["metadata"]["name"]),
        "selector": lambda: Target(
            namespace=space, selector=dice.choice(({"app": app}, {"tier": "front"}, {"no": "body"})), pick=pick
        ),
        "node": lambda: Target(node=f"node-{dice.randint(1, 5)}"),
        "nodeOf": lambda: Target(namespace=space, node_of=app, pick=dice.choice((1, 2, "all"))),
    }
    return made[dice.choice(list(made))]()


def random_fault(dice: random.Random, target: Target) -> Fault:
    """Each of the library, with its dangerous options; mostly one that fits the target."""
    files = ExecSwitch(set=("touch", "/x"), clear=("rm", "/x"), check=("test", "-e", "/x"))
    made: tuple[Callable[[], Fault], ...] = (
        KillPod,
        lambda: KillPod(force=True),
        lambda: DrainNode(force=True, delete_empty_dir_data=True, timeout="2s"),
        lambda: DrainNode(timeout="2s"),
        FailReadiness,
        lambda: FailLiveness(exec=files),
        lambda: BadCanary(patch=CanaryPatch(env={"BROKEN": "requests"})),
    )
    if target.kind in ("node", "node_of") and dice.random() < 0.8:
        return dice.choice(made[2:4])()
    return dice.choice([made[i] for i in (0, 1, 4, 5, 6)] if dice.random() < 0.9 else made)()


def random_guards(dice: random.Random) -> Guards:
    """From strict to as loose as they come."""
    return Guards(
        max_pods=dice.choice((None, None, None, 5, "50%", "100%")),
        max_nodes=dice.choice((1, 4)),
        min_ready=dice.choice((0, 0, 0, 1, 2)),
        also_evict=dice.choice(((), (), ("kube-system",), SPACES)),
    )


async def _attempted(seed: int) -> Attempt:
    dice, attempt = random.Random(seed), Attempt(seed)
    cluster = world(dice)
    own = dice.choice(cluster.store.of("Pod"))
    rules = Grounds(True, f"{own['metadata']['namespace']}/{own['metadata']['name']}")
    guards = random_guards(dice)
    target = random_target(dice, cluster)
    experiment = Experiment(
        name="forbidden",
        target=target,
        fault=random_fault(dice, target),
        slos=(parse_slo("replicasRestored"),),
        guards=guards,
        phases=Phases(baseline="1s", hold="1s", sustain="1s", settle="5s"),
    )
    changes = _refusals_in_mid_run(dice, cluster)
    cluster.trouble = _watched(cluster, attempt, guards, rules, own, cluster.trouble)
    try:
        found = await plan(experiment, cluster, run="f0rb1d", seed=seed, grounds=rules)
        run = Run(experiment, found, cluster, journal := MemoryJournal())
        journal.listeners.append(run.hear)
        asyncio.get_running_loop().call_later(0.3, changes)
        async with run:
            await run.hold(0.5)
        attempt.said = run.aborted or "ran"
    except ChaosError as error:
        attempt.said = str(error)
    return attempt


def _refusals_in_mid_run(dice: random.Random, cluster: FakeCluster) -> Callable[[], None]:
    """Now and then somebody opts out, or takes an opt-in back, between the plan and the injection."""
    if dice.random() < 0.7:
        return lambda: None
    kind = dice.choice(("Namespace", "Deployment"))
    chosen = dice.choice(cluster.store.of(kind))

    def change() -> None:
        live = cluster.store.current(chosen)
        if live is not None:
            meta = {**live["metadata"], "annotations": {**(live["metadata"].get("annotations") or {}), **OPT_OUT}}
            cluster.store.put(kind, {**live, "metadata": meta})

    return change


def _watched(
    cluster: FakeCluster, attempt: Attempt, guards: Guards, rules: Grounds, own: Obj, answer: Callable[[Sent], Any]
) -> Callable[[Sent], Any]:
    """The judge, written apart from the guards: it looks at the raw objects at the very moment a request is sent."""

    def judged(sent: Sent) -> Any:
        attempt.sent.append(sent)
        if not sent.undoing:
            attempt.trespasses += [f"{sent.op.ref}: {why}" for why in _wrongs(cluster, sent, guards, rules, own)]
        return answer(sent)

    return judged


def _wrongs(cluster: FakeCluster, sent: Sent, guards: Guards, rules: Grounds, own: Obj) -> list[str]:
    ref = sent.op.ref
    live = cluster.store.named(ref)
    space = cluster.store.find("Namespace", ref.namespace) if ref.namespace else None
    permitted = isinstance(sent.op, Evict) and ref.namespace in guards.also_evict
    meta = {} if live is None else live["metadata"]
    wrongs = []
    if ref.namespace in PROTECTED_NAMESPACES and not permitted:
        wrongs.append("protected namespace")
    if space is not None and (space["metadata"].get("labels") or {}).get(ALLOW_LABEL) != "true" and not permitted:
        wrongs.append("not opted in")
    if "node-role.kubernetes.io/control-plane" in (meta.get("labels") or {}):
        wrongs.append("control plane")
    if f"{ref.namespace}/{ref.name}" == rules.own_pod or (ref.kind == "Node" and ref.name == own["spec"]["nodeName"]):
        wrongs.append("the runner itself")
    if any(
        (one["metadata"].get("annotations") or {}).get(OPT_OUT_ANNOTATION) for one in _concerned(cluster, live, space)
    ):
        wrongs.append("opted out")
    return wrongs


def _concerned(cluster: FakeCluster, live: Obj | None, space: Obj | None) -> list[Obj]:
    """The object, its controllers by uid, its namespace."""
    found = [one for one in (live, space) if one is not None]
    by_uid = {obj["metadata"]["uid"]: obj for kind in ("Deployment", "ReplicaSet") for obj in cluster.store.of(kind)}
    current = live
    while current is not None:
        owners = current["metadata"].get("ownerReferences") or ()
        current = next((by_uid[owner["uid"]] for owner in owners if owner["uid"] in by_uid), None)
        found += [current] if current is not None else []
    return found


def attempt(seed: int) -> Attempt:
    """One random experiment, from its plan to its undo."""
    return run_virtual(_attempted(seed))


def main(count: int) -> None:
    """Print what came of so many, and every trespass."""
    ended: Counter[str] = Counter()
    trespasses: list[str] = []
    for seed in range(count):
        done = attempt(seed)
        ended[_class_of(done)] += 1
        trespasses += [f"seed {seed}: {wrong}" for wrong in done.trespasses]
    for name, number in ended.most_common():
        print(f"{number:7d}  {name}")
    print(f"{count} experiments, {len(trespasses)} writes to protected objects")
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(trespasses[:50]))
    sys.exit(1 if trespasses else 0)


def _class_of(done: Attempt) -> str:
    if done.sent:
        return "ran, and wrote" if done.said == "ran" else "stopped in mid-run, after writes"
    return next((name for part, name in _CLASSES.items() if part in done.said), done.said[:60])


_CLASSES = {
    "are protected": "refused: protected namespace or control plane",
    "opted out": "refused: opted out",
    "did not opt in": "refused: not opted in",
    "runner itself": "refused: the runner itself",
    "would be left untouched": "refused: minReady",
    "guards.max": "refused: too many",
    "fits no live pod": "empty target",
    "which is 0": "empty target",
    "picks": "more picked than there are",
    "needs a target": "fault and target do not go together",
    "not found": "no such object",
    "ran": "nothing to do",
}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
