"""ConfigMaps, Secrets and volumes in running pods."""

from __future__ import annotations

import base64

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import state

CONFIG = "kubernetes.io: ConfigMaps, mounted ConfigMaps are updated automatically"
SOURCES: dict[str, Obj] = {
    "configMap": {"configMap": {"name": "c"}},
    "secret": {"secret": {"secretName": "c"}},
    "projected": {"projected": {"sources": [{"configMap": {"name": "c"}}]}},
}


def _keep(space: Space, source: str, value: str, *, again: bool = False) -> None:
    """Create or change what the volume shows."""
    resource = "secrets" if source == "secret" else "configmaps"
    text = base64.b64encode(value.encode()).decode() if source == "secret" else value
    if again:
        space.patch(resource, "c", {"data": {"key": text}})
    else:
        space.create(resource, {"metadata": {"name": "c"}, "data": {"key": text}})


def _read(space: Space, path: str = "/etc/c/key") -> str:
    return space.read("p", path).strip()


def _poke(space: Space) -> None:
    """A change of the pod lets its node look at its volumes now, instead of within its sync period."""
    space.patch("pods", "p", {"metadata": {"annotations": {"poke": "1"}}})


@scenario(
    "A mounted source shows its new content in a running pod, at the next sync of the pod",
    f"{CONFIG}; recorded on 1.36",
)
@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_volume_follows(space: Space, source: str) -> None:
    _keep(space, source, "old")
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    space.start(app.pod("p", body, volumes=[{"name": "v"} | SOURCES[source]]), "running")
    assert _read(space) == "old"
    _keep(space, source, "new", again=True)
    _poke(space)
    with space.measured("visible after a poke"):
        eventually(lambda: _read(space) == "new", 30, "the new content")


@scenario(
    "A volume changes as a whole: its files are links through ..data, which is swapped",
    "pkg/volume/util/atomic_writer.go",
)
def test_a_volume_changes_at_once(space: Space) -> None:
    space.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}})
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    space.start(app.pod("p", body, volumes=[{"name": "v", "configMap": {"name": "c"}}]), "running")
    links = "import os, sys; print(*(os.readlink(path) for path in sys.argv[1:]))"

    def look() -> list[str]:
        return space.execute("p", "python", "-c", links, "/etc/c/a", "/etc/c/..data").split()

    before = look()
    assert before[0] == "..data/a" and before[1].startswith("..")
    space.patch("configmaps", "c", {"data": {"a": "2", "b": None, "new": "2"}})
    _poke(space)
    names = "import os, sys; print(*sorted(n for n in os.listdir(sys.argv[1]) if not n.startswith('.')))"
    eventually(
        lambda: space.execute("p", "python", "-c", names, "/etc/c").split() == ["a", "new"], 30, "the new set of files"
    )
    assert look()[1] != before[1]


@scenario("What never changes in a running container", CONFIG)
@pytest.mark.parametrize("way", ["env", "envFrom", "subPath"])
def test_what_never_changes(space: Space, way: str) -> None:
    space.create("configmaps", {"metadata": {"name": "c"}, "data": {"key": "old"}})
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    if way == "env":
        body["env"].append({"name": "key", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}})
    elif way == "envFrom":
        body["envFrom"] = [{"configMapRef": {"name": "c"}}]
    else:
        body["volumeMounts"].append({"name": "v", "mountPath": "/etc/fixed", "subPath": "key"})
    space.start(app.pod("p", body, volumes=[{"name": "v", "configMap": {"name": "c"}}]), "running")
    space.patch("configmaps", "c", {"data": {"key": "new"}})
    _poke(space)
    eventually(lambda: _read(space) == "new", 100, "the volume shows the new content")
    found = (
        _read(space, "/etc/fixed")
        if way == "subPath"
        else space.execute("p", "python", "-c", "import os; print(os.environ['key'])").strip()
    )
    assert found == "old"


@scenario(
    "A container whose ConfigMap is missing waits in CreateContainerConfigError and starts when it is there",
    "kubernetes.io: ConfigMaps; pkg/kubelet/kuberuntime",
)
def test_late_binding(space: Space) -> None:
    body = app.container()
    body["env"].append({"name": "key", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}})
    space.create("pods", app.pod("p", body))
    space.until_pod(
        "p", lambda pod: state(pod).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
    )
    space.create("configmaps", {"metadata": {"name": "c"}, "data": {"key": "value"}})
    pod = space.until_pod("p", lambda pod: "running" in state(pod)["state"], 100)
    assert state(pod)["restartCount"] == 0


@scenario("What is optional may be missing", "kubernetes.io: ConfigMaps, optional")
def test_what_is_optional_may_be_missing(space: Space) -> None:
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    body["env"].append({"name": "key", "valueFrom": {"secretKeyRef": {"name": "none", "key": "key", "optional": True}}})
    space.start(app.pod("p", body, volumes=[{"name": "v", "configMap": {"name": "none", "optional": True}}]), "running")
    assert space.execute(
        "p", "python", "-c", "import os, sys; print(os.environ.get('key'), os.path.isdir(sys.argv[1]))", "/etc/c"
    ).split() == ["None", "True"]


@scenario("An emptyDir survives the restart of a container", "kubernetes.io: Volumes, emptyDir")
def test_an_empty_dir_survives_a_restart(space: Space) -> None:
    body = app.container(volumeMounts=[{"name": "s", "mountPath": "/scratch"}])
    space.start(app.pod("p", body, volumes=[{"name": "s", "emptyDir": {}}]), "running")
    eventually(lambda: space.log("p").startswith("up"), what="the program listens")
    space.write("p", "/scratch/kept", "yes")
    space.ask("p", "/exit/1")
    space.until_pod("p", lambda pod: state(pod)["restartCount"] == 1 and "running" in state(pod)["state"])
    assert _read(space, "/scratch/kept") == "yes"


@scenario("Two containers of a pod share an emptyDir", "conformance: empty_dir.go, pod should support shared volumes")
def test_a_shared_empty_dir(space: Space) -> None:
    mount: Obj = {"volumeMounts": [{"name": "s", "mountPath": "/scratch"}]}
    two = app.container("two", env={"PORT": "8081"}, **mount)
    space.start(app.pod("p", app.container(**mount), two, volumes=[{"name": "s", "emptyDir": {}}]), "running")
    space.write("p", "/scratch/x", "shared", container="two")
    assert _read(space, "/scratch/x") == "shared"


@scenario(
    "Keys of a volume may be chosen, renamed and given a mode",
    "conformance: configmap_volume.go, mappings and item mode",
)
def test_items_and_modes(space: Space) -> None:
    space.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}})
    volume = {"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "sub/renamed", "mode": 256}]}}
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    space.start(app.pod("p", body, volumes=[volume]), "running")
    look = "import os, sys; print(os.path.exists(sys.argv[1]), oct(os.stat(sys.argv[2]).st_mode & 0o777))"
    assert space.execute("p", "python", "-c", look, "/etc/c/b", "/etc/c/sub/renamed").split() == ["False", "0o400"]


@scenario(
    "An immutable ConfigMap or Secret takes no change and can be deleted",
    "conformance: configmap.go, immutable if immutable field is set",
)
@pytest.mark.parametrize("resource", ["configmaps", "secrets"])
def test_what_is_immutable(space: Space, resource: str) -> None:
    space.create(resource, {"metadata": {"name": "c"}, "data": {"key": "b2xk"}, "immutable": True})
    answer = space.try_patch(resource, "c", {"data": {"key": "bmV3"}})
    assert answer.status_code == 422 and "field is immutable when `immutable` is set" in answer.json()["message"]
    space.delete(resource, "c")


@scenario(
    "A downward API volume follows the pod's labels",
    "conformance: projected_downwardapi.go, update labels on modification",
)
def test_labels_in_a_volume(space: Space) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    body = app.container(volumeMounts=[{"name": "v", "mountPath": "/etc/pod"}])
    space.start(app.pod("p", body, volumes=[{"name": "v", "downwardAPI": {"items": items}}]), "running")
    assert _read(space, "/etc/pod/labels").splitlines()[0] == 'app="p"'
    space.patch("pods", "p", {"metadata": {"labels": {"more": "1"}}})
    eventually(lambda: 'more="1"' in _read(space, "/etc/pod/labels"), 100, "the new label")
