"""No object that a client can send makes the server stumble: each is accepted whole or refused by name."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.sandbox import bootstrap
from chaoskit.sandbox.api import protobuf
from chaoskit.sandbox.api.columns import COLUMNS
from chaoskit.sandbox.errors import ApiError
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import Obj, Registry
from chaoskit.sandbox.schema import check_fields
from chaoskit.sandbox.settings import ClusterSettings, fast
from tests.behaviour import manifests

ODD: list[Any] = [
    None,
    "",
    0,
    -1,
    1.5,
    True,
    [],
    {},
    "x",
    ["x"],
    [None],
    [{}],
    {"a": None},
    {"a": {}},
    10**12,
    [[]],
    "1",
    {"": ""},
]
PROBE = {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1}
CONTAINER = {
    "livenessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": ["a"]}}},
    "resources": {"limits": {"cpu": "1"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
ITEMS = [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]
VOLUMES = [
    {"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}},
    {"name": "w", "projected": {"sources": [{"downwardAPI": {"items": ITEMS}}]}},
]
TOLERATIONS = [{"key": "a", "operator": "Exists"}]
OWNER = {"name": "a", "uid": "u", "kind": "k", "apiVersion": "v"}
STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
AFFINITY = {"clientIP": {"timeoutSeconds": 3}}
METADATA = {"name": "n", "labels": {"a": "b"}, "annotations": {"a": "b"}, "ownerReferences": [OWNER]}
SOUND: dict[str, Obj] = {
    "pods": manifests.pod("p", container=CONTAINER, volumes=VOLUMES, tolerations=TOLERATIONS),
    "deployments": manifests.deployment("d", strategy=STRATEGY),
    "services": manifests.service("s", type="NodePort", sessionAffinity="ClientIP", sessionAffinityConfig=AFFINITY),
    "nodes": {"metadata": METADATA, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "configmaps": {"metadata": {"name": "c"}, "data": {"a": "b"}},
    "secrets": {"metadata": {"name": "c"}, "stringData": {"a": "b"}, "data": {"x": "aGk="}},
    "endpointslices": {
        "metadata": {"name": "e"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": 1, "name": "x"}],
    },
    "events": {"metadata": {"name": "e"}, "involvedObject": {"name": "a", "namespace": "default"}, "count": 1},
    "leases": {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 3}},
}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "ca.crt").write_text("certificate")
    settings = ClusterSettings(
        "x", 64, "https://127.0.0.1:6443", "", tmp_path / "ca.crt", tmp_path, fast(), "fast", ("node-1",)
    )
    found = Registry(settings)
    bootstrap.furnish_cluster(found)
    return found


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*path, key)
        yield from _paths(below, (*path, key))


def _spoiled(obj: Obj, rng: random.Random) -> Obj:
    """A copy with one or two members replaced by something odd, or removed."""
    spoiled = copy.deepcopy(obj)
    for _ in range(rng.choice((1, 1, 2))):
        *way, last = rng.choice(list(_paths(spoiled)))
        target: Any = spoiled
        for key in way:
            target = target[key]
        if rng.random() < 0.2:
            target.pop(last)
        else:
            target[last] = copy.deepcopy(rng.choice(ODD))
        if not any(_paths(spoiled)):
            break
    return spoiled


def _send(registry: Registry, resource: str, sent: Obj, rng: random.Random) -> None:
    """Create, then patch with another spoiled copy, then print."""
    kind = KINDS[resource]
    namespace = "default" if kind.namespaced else ""
    check_fields(sent, kind, rng.choice(("", "Strict")))
    created = registry.create(resource, namespace, sent, actor="test")
    name = created["metadata"]["name"]
    body, style = _spoiled(created, rng), rng.choice(("merge", "strategic"))
    try:
        registry.patch(resource, namespace, name, body, style=style, actor="test", field_validation="")  # type: ignore[arg-type]
    finally:
        found = registry.find(resource, namespace, name)
        if found is not None:
            assert all(column.cell(found) is not None for column in COLUMNS[resource])
            registry.store.remove(resource, namespace, name)


@pytest.mark.parametrize("resource", sorted(SOUND))
def test_a_spoiled_object_is_accepted_or_refused_and_never_breaks_anything(registry: Registry, resource: str) -> None:
    rng = random.Random(resource)
    refused = 0
    for _ in range(400):
        sent = _spoiled(SOUND[resource], rng)
        if not isinstance(sent.get("metadata", {}), dict):
            continue
        try:
            _send(registry, resource, sent, rng)
        except ApiError as refusal:
            assert refusal.code in (400, 404, 409, 422), refusal.status
            refused += 1
    assert refused > 50


def test_a_sound_object_is_accepted(registry: Registry) -> None:
    for resource, obj in SOUND.items():
        namespace = "default" if KINDS[resource].namespaced else ""
        check_fields(sent := copy.deepcopy(obj), KINDS[resource], "Strict")
        registry.create(resource, namespace, sent, actor="test")


def test_mangled_protobuf_is_refused() -> None:
    rng = random.Random(1)
    sound = b'k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x08\n\x06\n\x04name\x1a\0"\0'
    assert protobuf.decode(sound)["metadata"] == {"name": "name"}
    for _ in range(500):
        mangled = bytearray(sound)
        mangled[rng.randrange(4, len(mangled))] = rng.randrange(256)
        try:
            protobuf.decode(bytes(mangled[: rng.randrange(5, len(mangled) + 1)]))
        except ApiError as refusal:
            assert refusal.code in (400, 415)
