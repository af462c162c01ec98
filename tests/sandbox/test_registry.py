"""The registry and what it is made of: selectors, patches, deletion, defaults; without HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from chaoskit.sandbox import bootstrap, events, notices
from chaoskit.sandbox.api.columns import duration
from chaoskit.sandbox.api.route import parse_route
from chaoskit.sandbox.errors import ApiError
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.normalise import normalise
from chaoskit.sandbox.quantity import parse_quantity
from chaoskit.sandbox.registry import Obj, Registry, thaw
from chaoskit.sandbox.rules.pod import quality_of_service
from chaoskit.sandbox.selectors import label_matcher, selects
from chaoskit.sandbox.settings import SERVICE_ADDRESSES, ClusterSettings, fast, realistic
from chaoskit.sandbox.strategic import merge_strategically


@pytest.fixture
def settings(tmp_path: Path) -> ClusterSettings:
    (tmp_path / "ca.crt").write_text("certificate")
    server = "https://127.0.0.1:1"
    return ClusterSettings("x", 64, server, "token", tmp_path / "ca.crt", tmp_path, fast(), "fast", ("node-1",))


@pytest.fixture
def registry(settings: ClusterSettings) -> Registry:
    found = Registry(settings)
    bootstrap.furnish_cluster(found)
    return found


def _pod(name: str = "p", **spec: Any) -> Obj:
    containers = [{"name": "c", "image": "python:3.11-slim"}]
    return {"metadata": {"name": name}, "spec": {"containers": containers} | spec}


def _create_pod(registry: Registry, name: str = "p", node: str = "node-1", **spec: Any) -> Obj:
    created = registry.create("pods", "default", _pod(name, **spec), actor="test")
    return registry.bind("default", name, node, actor="test") if node else created


def _refusal(code: int, act: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        act()
    assert refused.value.code == code, refused.value.status
    return refused.value


def test_settings_survive_the_way_to_another_process(settings: ClusterSettings) -> None:
    assert ClusterSettings.from_json(settings.to_json()) == settings


def test_addresses_of_nodes_pods_and_services_do_not_meet(settings: ClusterSettings) -> None:
    assert settings.node_address(3) == "127.64.0.3" and settings.pod_address(3, 2) == "127.64.3.2"
    assert settings.service_address(1) == "127.64.128.1" and settings.service_address(255) == "127.64.129.1"
    assert settings.service_address(SERVICE_ADDRESSES) == "127.64.191.254"


def test_the_realistic_profile_is_slower_wherever_the_two_differ() -> None:
    quick, real = fast(), realistic()
    for name in real.__slots__:
        assert getattr(real, name) >= getattr(quick, name), name


def test_a_controllers_unchanged_write_makes_no_revision(registry: Registry) -> None:
    pod = _create_pod(registry)
    before = registry.store.revision
    assert registry.update("pods", "default", "p", thaw(pod), actor="test") is registry.get("pods", "default", "p")
    registry.patch("pods", "default", "p", {"metadata": {"labels": {}}}, style="merge", actor="test")
    assert registry.store.revision == before


def test_a_template_with_null_creation_timestamp_equals_one_without() -> None:
    kind = KINDS["deployments"]
    spec: Obj = {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"volumes": []}}}
    other = thaw(spec)
    other["template"]["metadata"] |= {"creationTimestamp": None, "annotations": {}}
    del other["template"]["spec"]["volumes"]
    assert normalise({"spec": spec}, kind) == normalise({"spec": other}, kind)


def test_an_empty_dir_keeps_its_empty_mapping() -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    assert normalise({"spec": {"volumes": volumes}}, KINDS["pods"])["spec"]["volumes"] == volumes


def test_a_pod_is_bound_once(registry: Registry) -> None:
    pod = _create_pod(registry)
    assert pod["spec"]["nodeName"] == "node-1" and pod["metadata"]["generation"] == 1
    assert pod["status"]["conditions"][0] | {"type": "PodScheduled", "status": "True"} == pod["status"]["conditions"][0]
    refusal = _refusal(409, lambda: registry.bind("default", "p", "node-2", actor="test"))
    assert "already assigned" in str(refusal)


@pytest.mark.parametrize(
    ("node", "phase", "asked", "given"),
    [
        ("node-1", "Running", None, 30),
        ("node-1", "Running", 5, 5),
        ("", "Pending", None, 0),
        ("node-1", "Failed", 9, 0),
    ],
)
def test_the_grace_of_a_pod_depends_on_what_can_still_be_running(
    registry: Registry, node: str, phase: str, asked: int | None, given: int
) -> None:
    _create_pod(registry, node=node)
    registry.patch(
        "pods", "default", "p", {"status": {"phase": phase}}, style="merge", actor="test", subresource="status"
    )
    last = registry.delete("pods", "default", "p", actor="test", grace_s=asked)
    assert last["metadata"]["deletionGracePeriodSeconds"] == given
    assert (registry.find("pods", "default", "p") is None) is (given == 0)


def test_a_finalizer_holds_an_object_until_it_is_taken_away(registry: Registry) -> None:
    finalizers = ["example.org/hold"]
    made = registry.create("configmaps", "default", {"metadata": {"name": "c", "finalizers": finalizers}}, actor="test")
    marked = registry.delete("configmaps", "default", "c", actor="test")
    assert marked["metadata"]["deletionTimestamp"] and registry.find("configmaps", "default", "c") is not None
    free = thaw(marked)
    del free["metadata"]["finalizers"]
    registry.update("configmaps", "default", "c", free, actor="test")
    assert registry.find("configmaps", "default", "c") is None and made["metadata"]["uid"] == free["metadata"]["uid"]


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_foreground_and_orphan_leave_a_finalizer_for_the_collector(
    registry: Registry, policy: str, finalizer: str
) -> None:
    registry.create("configmaps", "default", {"metadata": {"name": "c"}}, actor="test")
    marked = registry.delete("configmaps", "default", "c", actor="test", propagation=policy)
    assert marked["metadata"]["finalizers"] == [finalizer]


def test_a_terminating_namespace_takes_nothing_new_and_goes_when_finalized(registry: Registry) -> None:
    registry.create("namespaces", "", {"metadata": {"name": "n"}}, actor="test")
    assert registry.delete("namespaces", "", "n", actor="test")["status"]["phase"] == "Terminating"
    refusal = _refusal(403, lambda: registry.create("configmaps", "n", {"metadata": {"name": "c"}}, actor="test"))
    assert refusal.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    done = thaw(registry.get("namespaces", "", "n")) | {"spec": {}}
    registry.update("namespaces", "", "n", done, actor="test", subresource="finalize")
    assert registry.find("namespaces", "", "n") is None


def test_generated_names_are_short_and_never_taken(registry: Registry) -> None:
    made = [
        registry.create("configmaps", "default", {"metadata": {"generateName": "c-"}}, actor="test") for _ in range(50)
    ]
    names = {obj["metadata"]["name"] for obj in made}
    assert len(names) == 50 and all(len(name) == 7 for name in names)


def test_a_deployments_generation_counts_spec_and_annotations_and_not_labels_or_status(registry: Registry) -> None:
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": _pod()["spec"]}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    registry.create("deployments", "default", {"metadata": {"name": "d"}, "spec": spec}, actor="test")

    def patched(body: Obj, subresource: str = "") -> int:
        found = registry.patch(
            "deployments", "default", "d", body, style="merge", actor="test", subresource=subresource
        )
        return int(found["metadata"]["generation"])

    assert patched({"metadata": {"labels": {"x": "y"}}}) == 1
    assert patched({"status": {"replicas": 1}, "metadata": {"annotations": {"r": "1"}}}, "status") == 1
    assert patched({"metadata": {"annotations": {"x": "y"}}}) == 2
    assert patched({"spec": {"replicas": 2}}) == 3


def test_a_repeated_event_counts_up(registry: Registry) -> None:
    pod = _create_pod(registry)
    for _ in range(3):
        events.record(registry, pod, "Warning", "Unhealthy", "Readiness probe failed", "kubelet")
    events.record(registry, pod, "Warning", "Unhealthy", "Liveness probe failed", "kubelet")
    found = registry.list("events", "default", fields="involvedObject.name=p")
    assert sorted(event["count"] for event in found) == [1, 3]
    assert events.expire(registry) == 0


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
    ],
)
def test_the_quality_of_service_follows_requests_and_limits(spec: Obj, expected: str) -> None:
    assert quality_of_service({"containers": [{"resources": spec}]}) == expected


@pytest.mark.parametrize(
    ("selector", "labels", "holds"),
    [
        ("a=1,b!=2", {"a": "1"}, True),
        ("a=1,b!=2", {"a": "1", "b": "2"}, False),
        ("a in (1,2),!c", {"a": "2"}, True),
        ("a notin (1)", {}, True),
        ("a", {}, False),
        ("a>3", {"a": "4"}, True),
        ("", {}, True),
    ],
)
def test_label_selectors_mean_what_kubernetes_means(selector: str, labels: dict[str, str], holds: bool) -> None:
    assert label_matcher(selector)(labels) is holds


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selects(None, {"a": "b"}) and selects({}, {"a": "b"})
    expression = {"key": "a", "operator": "DoesNotExist"}
    assert selects({"matchExpressions": [expression]}, {}) and not selects(
        {"matchExpressions": [expression]}, {"a": ""}
    )


@pytest.mark.parametrize(
    ("text", "amount"), [("500m", "0.5"), ("1Ki", "1024"), ("2", "2"), ("1e3", "1000"), ("1.5Gi", "1610612736")]
)
def test_quantities_are_exact(text: str, amount: str) -> None:
    assert str(parse_quantity(text).normalize()) == str(parse_quantity(amount).normalize())


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1Gb", "abc"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (130, "2m10s"), (600, "10m"), (3 * 3600 + 60, "3h1m"), (9 * 86400, "9d")]
)
def test_ages_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    from datetime import timedelta

    assert duration(timedelta(seconds=seconds)) == text


def test_routes_tell_namespaces_from_what_is_in_them() -> None:
    whole = parse_route("/api/v1/namespaces/n")
    inside = parse_route("/api/v1/namespaces/n/pods/p/proxy/a/b")
    status = parse_route("/api/v1/namespaces/n/status")
    assert whole is not None and (whole.kind.plural, whole.name, whole.namespace) == ("namespaces", "n", "")
    assert inside is not None and (inside.namespace, inside.name, inside.subresource, inside.rest) == (
        "n",
        "p",
        "proxy",
        "a/b",
    )
    assert status is not None and (status.name, status.subresource) == ("n", "status")
    assert parse_route("/api/v1") is None
    _refusal(501, lambda: parse_route("/apis/batch/v1/namespaces/n/cronjobs"))
    _refusal(404, lambda: parse_route("/apis/example.org/v1/things"))


def test_what_is_not_supported_is_counted() -> None:
    before = notices.tally["cronjobs.v1.batch"]
    _refusal(501, lambda: parse_route("/apis/batch/v1/cronjobs"))
    assert notices.tally["cronjobs.v1.batch"] == before + 1


_leaves = some.none() | some.booleans() | some.integers(-5, 5) | some.text(max_size=3)
_trees = some.recursive(
    _leaves, lambda inner: some.dictionaries(some.text("abc", min_size=1, max_size=2), inner, max_size=3), max_leaves=8
)
_mappings = some.dictionaries(some.text("abc", min_size=1, max_size=2), _trees, max_size=4)


@effort(deadline=None)  # a busy machine is not a failure
@given(_mappings, _mappings)
def test_a_strategic_patch_without_lists_is_idempotent(target: Obj, patch: Obj) -> None:
    once = merge_strategically(thaw(target), patch)
    assert merge_strategically(thaw(once), patch) == once


@effort(deadline=None)  # a busy machine is not a failure
@given(some.permutations(["a", "b", "c"]), some.sets(some.sampled_from(["a", "b", "c", "d"])))
def test_elements_merged_by_key_are_neither_lost_nor_doubled(present: list[str], patched: set[str]) -> None:
    target: Obj = {"containers": [{"name": name, "image": "old"} for name in present]}
    patch: Obj = {"containers": [{"name": name, "image": "new"} for name in sorted(patched)]}
    merged = {c["name"]: c["image"] for c in merge_strategically(target, patch)["containers"]}
    assert merged == {name: "new" if name in patched else "old" for name in {*present, *patched}}
