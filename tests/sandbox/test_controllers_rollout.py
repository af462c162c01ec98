"""The arithmetic of rollouts, revisions, templates, ranking and progress, as tables over values."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.sandbox.controllers import progress
from chaoskit.sandbox.controllers.ownership import decide
from chaoskit.sandbox.controllers.ranking import DELETION_COST, first_to_go
from chaoskit.sandbox.controllers.revision import HISTORY, REVISION, new_annotations
from chaoskit.sandbox.controllers.rollout import (
    DESIRED,
    MAXIMUM,
    Rollout,
    Scale,
    first_size,
    is_resized,
    resize,
    scale_new,
    scale_old,
    superfluous,
    surge_and_unavailable,
)
from chaoskit.sandbox.controllers.template import is_same_template, template_hash
from chaoskit.sandbox.facts.clock import render_time

Obj = dict[str, Any]
NOW_S = 1_700_000_000.0


def deployment(replicas: int = 4, surge: int | str = "25%", unavailable: int | str = "25%", **spec: Any) -> Obj:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    metadata = {"name": "web", "namespace": "shop", "uid": "d", "generation": 2}
    return {"metadata": metadata, "spec": {"replicas": replicas, "strategy": strategy, **spec}, "status": {}}


def replicaset(
    name: str,
    size: int,
    available: int | None = None,
    *,
    revision: int = 1,
    behind: bool = False,
    told: dict[str, str] | None = None,
) -> Obj:
    annotations = {REVISION: str(revision), **(told or {})}
    metadata = {"name": name, "namespace": "shop", "uid": name, "annotations": annotations, "generation": 2}
    status = {
        "replicas": size,
        "availableReplicas": size if available is None else available,
        "observedGeneration": 1 if behind else 2,
    }
    return {"metadata": metadata, "spec": {"replicas": size}, "status": status}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (3, 0, 0, (0, 1)),
        (3, "0%", 0, (0, 1)),
        (3, 2, 1, (2, 1)),
        (3, 0, 5, (0, 3)),
        (0, "25%", "25%", (0, 0)),
        (10, "1%", "1%", (1, 0)),
    ],
)
def test_surge_is_rounded_up_and_unavailable_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    assert surge_and_unavailable(deployment(replicas, surge, unavailable)) == expected


def test_recreate_has_neither_surge_nor_unavailable() -> None:
    assert surge_and_unavailable({"spec": {"replicas": 4, "strategy": {"type": "Recreate"}}}) == (0, 0)


@pytest.mark.parametrize(
    ("old", "new", "up", "down"),
    [
        # The first moves as recorded: new 0 -> 1 within the surge, old 4 -> 3, new 1 -> 2.
        ((4, 4), (1, 0), [], [("old", 3)]),
        ((3, 3), (1, 0), [("new", 2)], []),
        ((3, 3), (2, 0), [], []),
        ((3, 3), (2, 1), [], [("old", 2)]),
        ((3, 3), (2, 2), [], [("old", 1)]),
        ((1, 1), (4, 4), [], [("old", 0)]),
        ((0, 0), (4, 4), [], []),
        # Old pods that are not available go first, and do not wait for anybody.
        ((4, 1), (1, 0), [], [("old", 3)]),
        ((3, 0), (2, 2), [], [("old", 1)]),
    ],
)
def test_one_step_of_a_rolling_update_of_four(
    old: tuple[int, int], new: tuple[int, int], up: list[tuple[str, int]], down: list[tuple[str, int]]
) -> None:
    rollout = Rollout(deployment(), replicaset("new", *new, revision=2), (replicaset("old", *old),))
    assert scale_new(rollout) == [Scale(*each) for each in up]
    assert scale_old(rollout) == [Scale(*each) for each in down]


def test_unhealthy_pods_of_the_oldest_replicaset_go_first() -> None:
    old = (replicaset("b", 2, 1, revision=2), replicaset("a", 2, 1, revision=1))
    rollout = Rollout(deployment(4, 0, 2), replicaset("new", 1, 1, revision=3), old)
    assert scale_old(rollout) == [Scale("a", 0), Scale("b", 1)]


def test_the_new_one_does_not_grow_while_an_old_one_has_yet_to_shrink() -> None:
    behind = Rollout(deployment(), replicaset("new", 1, 0), (replicaset("old", 3, behind=True),))
    assert scale_new(behind) == []
    assert scale_new(Rollout(deployment(), replicaset("new", 1, 0), (replicaset("old", 3),))) == [Scale("new", 2)]


def test_a_new_replicaset_starts_within_the_surge() -> None:
    assert first_size(Rollout(deployment(), None, (replicaset("old", 4),))) == 1
    assert first_size(Rollout(deployment(), None, ())) == 4
    assert first_size(Rollout(deployment(4, 0, 1), None, (replicaset("old", 4),))) == 0


def test_a_change_of_replicas_mid_rollout_is_shared_in_proportion() -> None:
    sizes = {DESIRED: "10", MAXIMUM: "13"}
    old, new = replicaset("old", 8, told=sizes), replicaset("new", 5, revision=2, told=sizes)
    rollout = Rollout(deployment(20, 5, 2), new, (old,))
    assert is_resized(rollout)
    assert resize(rollout) == [Scale("old", 15), Scale("new", 10)]
    settled = Rollout(deployment(10, 3, 2), new, (old,))
    assert not is_resized(settled)


def test_a_single_active_replicaset_takes_the_whole_change() -> None:
    only = replicaset("new", 3, revision=2, told={DESIRED: "3", MAXIMUM: "4"})
    assert resize(Rollout(deployment(7), only, (replicaset("old", 0),))) == [Scale("new", 7)]


def test_only_empty_replicasets_beyond_the_history_go_the_oldest_first() -> None:
    old = tuple(replicaset(f"r{number}", 0, revision=number) for number in (1, 2, 3))
    busy = replicaset("busy", 1, revision=0)
    rollout = Rollout(deployment(revisionHistoryLimit=2), replicaset("new", 4, revision=4), (*old, busy))
    assert [each["metadata"]["name"] for each in superfluous(rollout)] == ["r1"]


def test_a_reused_replicaset_gets_the_next_revision_and_remembers_the_old_one() -> None:
    reused = new_annotations(deployment(), {REVISION: "1"}, 3, fresh=False)
    assert (reused[REVISION], reused[HISTORY]) == ("3", "1")
    assert new_annotations(deployment(), {REVISION: "3", HISTORY: "1"}, 5, fresh=False)[HISTORY] == "1,3"
    assert new_annotations(deployment(), {REVISION: "3"}, 2, fresh=False) == {REVISION: "3"}


def test_annotations_of_the_deployment_are_copied_but_not_those_of_its_bookkeeping() -> None:
    told = deployment()
    told["metadata"]["annotations"] = {
        "team": "shop",
        REVISION: "7",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    assert new_annotations(told, {}, 1, fresh=True) == {"team": "shop", REVISION: "1", DESIRED: "4", MAXIMUM: "5"}


def test_templates_are_equal_apart_from_hash_nulls_and_emptiness() -> None:
    plain = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
    stored = {
        "metadata": {"creationTimestamp": None, "labels": {"app": "web", "pod-template-hash": "abc"}},
        "spec": {"containers": [{"name": "a", "image": "x", "resources": {}}], "securityContext": {}},
    }
    other = {**plain, "spec": {"containers": [{"name": "a", "image": "y"}]}}
    assert is_same_template(plain, stored) and template_hash(plain) == template_hash(stored)
    assert not is_same_template(plain, other) and template_hash(plain) != template_hash(other)
    assert template_hash(plain) != template_hash(plain, collisions=1)


def test_an_empty_dir_and_no_source_are_two_templates() -> None:
    with_dir = {"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}
    assert not is_same_template(with_dir, {"spec": {"volumes": [{"name": "tmp"}]}})


def pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready_s: float | None = 100,
    cost: str = "",
    restarts: int = 0,
    age_s: float = 200,
) -> Obj:
    since = render_time(NOW_S - (ready_s or 0))
    status: Obj = {"phase": phase, "containerStatuses": [{"restartCount": restarts}]}
    status["conditions"] = [
        {"type": "Ready", "status": "False" if ready_s is None else "True", "lastTransitionTime": since}
    ]
    metadata: Obj = {"name": name, "uid": name, "creationTimestamp": render_time(NOW_S - age_s)}
    if cost:
        metadata["annotations"] = {DELETION_COST: cost}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("x", node=""), pod("a")),
        (pod("x", phase="Pending"), pod("a")),
        (pod("x", ready_s=None), pod("a")),
        (pod("x", cost="-1"), pod("a")),
        (pod("x"), pod("a", cost="5")),
        (pod("x", ready_s=3), pod("a", ready_s=100)),
        (pod("x", restarts=2), pod("a")),
        (pod("x", age_s=101), pod("a", age_s=9000)),
        (pod("a", ready_s=100), pod("x", ready_s=90)),  # the same logarithmic bucket: the uid decides
    ],
)
def test_which_of_two_pods_goes_first(first: Obj, second: Obj) -> None:
    assert first_to_go([second, first], [second, first], 1, NOW_S) == [first]


def test_the_pod_on_the_fuller_node_goes_first() -> None:
    crowded, alone = pod("z", node="n1"), pod("a", node="n2")
    assert first_to_go([alone, crowded], [alone, crowded, pod("sibling", node="n1")], 1, NOW_S) == [crowded]


def owner(**metadata: Any) -> Obj:
    return {"metadata": {"uid": "o", "name": "web", **metadata}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}


def dependent(labels: dict[str, str], uid: str | None = None, **metadata: Any) -> Obj:
    references = [] if uid is None else [{"uid": uid, "controller": True, "kind": "ReplicaSet", "name": "x"}]
    return {"metadata": {"labels": labels, "ownerReferences": references, **metadata}}


def test_adoption_and_release_follow_selector_and_controller() -> None:
    mine, drifted = dependent({"app": "web"}, "o"), dependent({"app": "other"}, "o")
    orphan, foreign, leaving = (
        dependent({"app": "web"}),
        dependent({"app": "web"}, "someone"),
        dependent({"app": "web"}, deletionTimestamp="t"),
    )
    claims = decide(owner(), [mine, drifted, orphan, foreign, leaving])
    assert (claims.kept, claims.adopted, claims.released) == ((mine,), (orphan,), (drifted,))
    going = decide(owner(deletionTimestamp="t"), [mine, drifted, orphan])
    assert (going.kept, going.adopted, going.released) == ((mine, drifted), (), ())


def progressing(reason: str, age_s: float, status: str = "True") -> Obj:
    times = {"lastUpdateTime": render_time(NOW_S - age_s), "lastTransitionTime": render_time(NOW_S - age_s)}
    return {"type": "Progressing", "status": status, "reason": reason, "message": "", **times}


def judged(condition: Obj, new: Obj, old: Obj | None = None, before: Obj | None = None) -> Obj:
    told = deployment(progressDeadlineSeconds=10)
    told["status"] = {"conditions": [condition], **(before or {"replicas": 5, "updatedReplicas": 1})}
    rollout = Rollout(told, new, (old,) if old is not None else ())
    status = progress.with_progress(rollout, progress.status_of(rollout, NOW_S), NOW_S)
    return next(each for each in status["conditions"] if each["type"] == "Progressing")


def test_progress_is_told_by_its_reasons() -> None:
    running, stalled = progressing("ReplicaSetUpdated", 5), progressing("ReplicaSetUpdated", 11)
    done = judged(running, replicaset("new", 4))
    assert (done["status"], done["reason"], done["message"]) == (
        "True",
        "NewReplicaSetAvailable",
        'ReplicaSet "new" has successfully progressed.',
    )
    moved = judged(stalled, replicaset("new", 2, 0), replicaset("old", 3))
    assert (moved["reason"], moved["message"]) == ("ReplicaSetUpdated", 'ReplicaSet "new" is progressing.')
    assert (
        moved["lastUpdateTime"] == render_time(NOW_S) and moved["lastTransitionTime"] == stalled["lastTransitionTime"]
    )
    before = {"replicas": 5, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 3}
    late = judged(stalled, replicaset("new", 2, 0), replicaset("old", 3), before)
    assert (late["status"], late["reason"], late["message"]) == (
        "False",
        "ProgressDeadlineExceeded",
        'ReplicaSet "new" has timed out progressing.',
    )
    waiting = judged(running, replicaset("new", 2, 0), replicaset("old", 3), before)
    assert waiting == running


def test_the_deadline_is_looked_at_a_second_late_and_never_when_there_is_nothing_to_wait_for() -> None:
    told = deployment(progressDeadlineSeconds=10)
    status = {"conditions": [progressing("ReplicaSetUpdated", 4)]}
    assert progress.deadline_in(told, status, NOW_S) == pytest.approx(7.0)
    assert progress.deadline_in(told, {"conditions": [progressing("NewReplicaSetAvailable", 4)]}, NOW_S) is None
    assert progress.deadline_in(deployment(progressDeadlineSeconds=10, paused=True), status, NOW_S) is None
    assert progress.deadline_in(deployment(), status, NOW_S) is None


def test_availability_allows_for_the_unavailable() -> None:
    def available(count: int) -> str:
        rollout = Rollout(deployment(4), replicaset("new", 4, count), ())
        return str(progress.status_of(rollout, NOW_S)["conditions"][0]["reason"])

    assert available(3) == "MinimumReplicasAvailable"
    assert available(2) == "MinimumReplicasUnavailable"
