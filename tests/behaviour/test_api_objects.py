"""Every served kind through the official client's strict models: create, get, list, patch, replace, delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually


@pytest.fixture
def api(kubeconfig: Access) -> Iterator[Any]:
    with kubeconfig.api_client() as found:
        yield found


def test_a_config_map_lives_through_every_verb(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    created = core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    assert created.metadata.uid and created.metadata.creation_timestamp is not None
    patched = core.patch_namespaced_config_map("c", namespace, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    patched.data = {"only": "this"}
    replaced = core.replace_namespaced_config_map("c", namespace, patched)
    assert replaced.data == {"only": "this"} and replaced.metadata.uid == created.metadata.uid
    assert [
        item.metadata.name
        for item in core.list_namespaced_config_map(namespace, field_selector="metadata.name=c").items
    ] == ["c"]
    assert core.delete_namespaced_config_map("c", namespace)["status"] == "Success"
    with pytest.raises(client.ApiException) as refusal:
        core.read_namespaced_config_map("c", namespace)
    assert refusal.value.status == 404


def test_a_secret_folds_plain_text_into_data(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    core.create_namespaced_secret(namespace, {"metadata": {"name": "s"}, "stringData": {"password": "hush"}})
    found = core.read_namespaced_secret("s", namespace)
    assert found.type == "Opaque" and found.data == {"password": "aHVzaA=="} and found.string_data is None


def test_a_namespace_comes_furnished_and_goes_with_its_content(api: Any) -> None:
    core: Any = client.CoreV1Api(api)
    created = core.create_namespace({"metadata": {"generateName": "passing-"}})
    name = created.metadata.name
    assert created.status.phase == "Active" and created.metadata.labels["kubernetes.io/metadata.name"] == name
    eventually(lambda: core.list_namespaced_service_account(name).items, what="the default service account")
    assert eventually(lambda: core.list_namespaced_config_map(name).items)[0].metadata.name == "kube-root-ca.crt"
    core.create_namespaced_config_map(name, {"metadata": {"name": "c"}})
    assert core.delete_namespace(name)["metadata"]["deletionTimestamp"]
    eventually(lambda: name not in [n.metadata.name for n in core.list_namespace().items], 30, "the namespace's end")


def test_system_namespaces_exist_and_cannot_be_deleted(api: Any) -> None:
    core: Any = client.CoreV1Api(api)
    names = {item.metadata.name for item in core.list_namespace().items}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
    with pytest.raises(client.ApiException) as refusal:
        core.delete_namespace("default")
    assert refusal.value.status == 403 and "this namespace may not be deleted" in str(refusal.value.body)


def test_nodes_are_ready_and_renew_their_leases(api: Any) -> None:
    core: Any = client.CoreV1Api(api)
    leases: Any = client.CoordinationV1Api(api)
    nodes = core.list_node().items
    assert nodes
    for node in nodes:
        ready = next(condition for condition in node.status.conditions if condition.type == "Ready")
        assert ready.status == "True" and node.status.node_info.kubelet_version.startswith("v1.")
        lease = leases.read_namespaced_lease(node.metadata.name, "kube-node-lease")
        assert lease.spec.holder_identity == node.metadata.name and lease.spec.renew_time is not None


def test_a_deployment_becomes_available_scales_and_goes_with_its_pods(api: Any, namespace: str) -> None:
    apps: Any = client.AppsV1Api(api)
    core: Any = client.CoreV1Api(api)
    created = apps.create_namespaced_deployment(namespace, manifests.deployment("web"))
    assert created.spec.strategy.rolling_update.max_surge == "25%" and created.metadata.generation == 1
    eventually(lambda: apps.read_namespaced_deployment("web", namespace).status.available_replicas == 2)
    assert apps.read_namespaced_deployment_scale("web", namespace).status.selector == "app=web"
    assert apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 3}}).spec.replicas == 3
    eventually(lambda: apps.read_namespaced_deployment_status("web", namespace).status.ready_replicas == 3)
    sets = apps.list_namespaced_replica_set(namespace, label_selector="app=web").items
    assert len(sets) == 1 and sets[0].metadata.owner_references[0].name == "web" and sets[0].status.replicas == 3
    assert len(core.list_namespaced_pod(namespace, label_selector="app in (web)").items) == 3
    apps.delete_namespaced_deployment("web", namespace)
    eventually(lambda: not core.list_namespaced_pod(namespace).items, what="the end of the pods")
    assert not apps.list_namespaced_replica_set(namespace).items


def test_a_service_gets_an_address_a_port_and_endpoints(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    apps: Any = client.AppsV1Api(api)
    discovery: Any = client.DiscoveryV1Api(api)
    apps.create_namespaced_deployment(namespace, manifests.deployment("web", 1))
    created = core.create_namespaced_service(namespace, manifests.service("web", type="NodePort"))
    assert created.spec.cluster_ip.count(".") == 3 and 30000 <= created.spec.ports[0].node_port <= 32767

    def slices() -> Any:
        found = discovery.list_namespaced_endpoint_slice(
            namespace, label_selector="kubernetes.io/service-name=web"
        ).items
        return [s for s in found if s.endpoints and s.endpoints[0].conditions.ready]

    found = eventually(slices)[0]
    assert found.ports[0].port == 8080 and found.endpoints[0].target_ref.kind == "Pod"


def test_events_tell_the_story_of_a_pod(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    created = core.create_namespaced_pod(namespace, manifests.pod("told"))
    chosen = f"involvedObject.uid={created.metadata.uid}"

    def reasons() -> set[str]:
        return {event.reason for event in core.list_namespaced_event(namespace, field_selector=chosen).items}

    eventually(lambda: {"Scheduled", "Pulled", "Created", "Started"} <= reasons())


def test_an_update_with_a_stale_revision_is_a_conflict_and_one_without_is_not(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    first = core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
    with pytest.raises(client.ApiException) as refusal:
        core.replace_namespaced_config_map("c", namespace, first)
    assert refusal.value.status == 409 and "the object has been modified" in str(refusal.value.body)
    bare = {"metadata": {"name": "c"}, "data": {"a": "3"}}
    assert core.replace_namespaced_config_map("c", namespace, bare).metadata.uid == first.metadata.uid


def test_a_write_that_changes_nothing_keeps_the_revision(api: Any, namespace: str) -> None:
    apps: Any = client.AppsV1Api(api)
    apps.create_namespaced_deployment(namespace, manifests.deployment("still", 0))
    eventually(lambda: apps.read_namespaced_deployment("still", namespace).status.observed_generation == 1)
    before = eventually(lambda: _settled(apps, namespace))
    same = apps.patch_namespaced_deployment("still", namespace, {"spec": {"replicas": 0}})
    assert same.metadata.resource_version == before.metadata.resource_version
    more = apps.patch_namespaced_deployment("still", namespace, {"spec": {"revisionHistoryLimit": 3}})
    assert more.metadata.generation == before.metadata.generation + 1


def _settled(apps: Any, namespace: str) -> Any:
    found = apps.read_namespaced_deployment("still", namespace)
    conditions = {c.type: c.reason for c in found.status.conditions or ()}
    done = found.status.observed_generation == found.metadata.generation
    return found if done and conditions.get("Progressing") == "NewReplicaSetAvailable" else None


def test_status_is_written_through_its_own_door_only(api: Any, namespace: str) -> None:
    apps: Any = client.AppsV1Api(api)
    paused = manifests.deployment("d", 0, paused=True)
    apps.create_namespaced_deployment(namespace, paused)
    through_main = apps.patch_namespaced_deployment("d", namespace, {"status": {"collisionCount": 7}})
    assert through_main.status.collision_count is None
    body = {"status": {"collisionCount": 7}, "spec": {"replicas": 9}}
    through_status = apps.patch_namespaced_deployment_status("d", namespace, body)
    assert through_status.status.collision_count == 7 and through_status.spec.replicas == 0


def test_dry_run_answers_what_would_be_and_stores_nothing(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    imagined = core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}}, dry_run="All")
    assert imagined.metadata.uid
    assert "c" not in [item.metadata.name for item in core.list_namespaced_config_map(namespace).items]
    with pytest.raises(client.ApiException) as refusal:
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}}, dry_run="foo")
    assert refusal.value.status == 422


def test_a_collection_is_deleted_by_selector(api: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name, "labels": {"l": label}}})
    core.delete_collection_namespaced_config_map(namespace, label_selector="l=x")
    left = [item.metadata.name for item in core.list_namespaced_config_map(namespace, label_selector="l").items]
    assert left == ["c"]


def test_the_version_says_a_recent_kubernetes(api: Any) -> None:
    version = client.VersionApi(api).get_code()
    assert version.major == "1" and int(version.minor) >= 30


def test_discovery_names_what_is_served(api: Any) -> None:
    resources = {item.name for item in client.AppsV1Api(api).get_api_resources().resources}
    assert {"deployments", "deployments/scale", "deployments/status", "replicasets"} <= resources
    groups = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "coordination.k8s.io", "discovery.k8s.io"} <= groups


def test_the_dynamic_client_finds_its_way(api: Any, namespace: str) -> None:
    from kubernetes.dynamic import DynamicClient

    dynamic: Any = DynamicClient
    maps = dynamic(api).resources.get(api_version="v1", kind="ConfigMap")
    maps.create(namespace=namespace, body={"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}})
    assert maps.get(namespace=namespace, name="c").metadata.name == "c"


def test_the_one_user_may_do_everything(api: Any) -> None:
    asked = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}}
    reviews: Any = client.AuthorizationV1Api(api)
    answer = reviews.create_self_subject_access_review(asked)
    assert answer.status.allowed
