"""The node's pure rules: back-off, expansion, images, rewriting, the guard of the host, phases, atomic volumes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chaoskit.sandbox.node.backoff import BackOff
from chaoskit.sandbox.node.environment import ConfigError, expand, field, resource, service_variables, variables
from chaoskit.sandbox.node.guard import Refused, guarded
from chaoskit.sandbox.node.images import argv_of, find_image
from chaoskit.sandbox.node.paths import Mounts
from chaoskit.sandbox.node.volumes import swap

POD = {
    "metadata": {
        "name": "p",
        "namespace": "shop",
        "uid": "u",
        "labels": {"app": "x", "b": "y"},
        "annotations": {"chaoskit.dev/a": "1"},
    },
    "spec": {"nodeName": "node-1"},
    "status": {"podIP": "127.64.1.2", "hostIP": "127.64.0.1"},
}


def restarts(life_s: float, killed: bool, count: int) -> list[float]:
    """Gaps between exit and start for instances that live `life_s`, judged as the container loop does."""
    backoff, now, before, gaps = BackOff(10, 300), 0.0, None, []
    for _ in range(count):
        now += life_s
        gap = 0.0
        if killed and (before is None or backoff.remaining_s(before, now) == 0):
            if before is not None:
                backoff.advance(before, now)
        else:
            gap = backoff.remaining_s(now, now)
            backoff.advance(now, now + gap)
        before = now
        now += gap
        gaps.append(gap)
    return gaps


def test_after_own_crashes_only_the_first_restart_is_immediate() -> None:
    assert restarts(1, killed=False, count=8) == [0, 10, 20, 40, 80, 160, 300, 300]


def test_after_liveness_kills_of_short_lived_instances_two_restarts_are_immediate() -> None:
    assert restarts(5, killed=True, count=4) == [0, 0, 10, 20]


def test_a_liveness_kill_is_judged_by_the_end_of_the_instance_before() -> None:
    assert restarts(13, killed=True, count=4) == [0, 0, 0, 20]


def test_ten_minutes_of_life_forget_the_back_off_and_less_does_not() -> None:
    backoff = BackOff(10, 300)
    backoff.advance(0, 0)
    assert backoff.remaining_s(finished_at=599, now=599) == 10
    assert backoff.remaining_s(finished_at=601, now=601) == 0


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)$(B)", "x12"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(A)", "$(A)"),
        ("$A", "$A"),
        ("100$", "100$"),
        ("$(A", "$(A"),
    ],
)
def test_variables_expand_as_kubernetes_does(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def resolved(container: dict[str, Any], objects: dict[tuple[str, str], Any]) -> dict[str, str]:
    async def fetch(kind: str, name: str) -> Any:
        return objects.get((kind, name))

    return asyncio.run(variables(container, POD, {"DB_SERVICE_HOST": "127.64.128.1"}, fetch))


def test_the_environment_comes_from_values_fields_objects_and_services() -> None:
    objects = {
        ("configmaps", "c"): {"metadata": {"namespace": "shop"}, "data": {"k": "v"}},
        ("secrets", "s"): {"metadata": {"namespace": "shop"}, "data": {"pw": "c2VjcmV0"}},
    }
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "C_"}, {"secretRef": {"name": "none", "optional": True}}],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
            {"name": "URL", "value": "http://$(DB_SERVICE_HOST)/$(C_k)/$(IP)"},
            {"name": "EMPTY"},
        ],
    }
    env = resolved(container, objects)
    assert env["URL"] == "http://127.64.128.1/v/127.64.1.2"
    assert (env["PW"], env["EMPTY"], env["C_k"]) == ("secret", "", "v")


@pytest.mark.parametrize("key", ["k", "other"])
def test_a_missing_key_or_object_is_a_config_error_unless_optional(key: str) -> None:
    ref = {"name": "c", "key": key}
    objects = {("configmaps", "c"): {"metadata": {"namespace": "shop"}, "data": {}}} if key == "other" else {}
    with pytest.raises(ConfigError):
        resolved({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": ref}}]}, objects)
    assert "A" not in resolved(
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {**ref, "optional": True}}}]}, objects
    )


def test_the_downward_api_offers_its_fields_and_no_others() -> None:
    assert field(POD, "metadata.labels['app']") == "x"
    assert field(POD, "metadata.labels") == 'app="x"\nb="y"'
    assert field(POD, "spec.nodeName") == "node-1"
    with pytest.raises(ConfigError):
        field(POD, "spec.volumes")


def test_a_resource_is_divided_and_rounded_up() -> None:
    container = {"resources": {"limits": {"cpu": "250m", "memory": "65Mi"}}}
    assert resource(POD, container, {"resource": "limits.cpu"}) == "1"
    assert resource(POD, container, {"resource": "limits.memory", "divisor": "1Mi"}) == "65"
    assert resource(POD, container, {"resource": "requests.cpu"}) == "0"


def test_services_become_variables_unless_links_are_off() -> None:
    service = {
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "127.64.128.9", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]},
    }
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    env = service_variables([service, headless], True, "https://127.0.0.1:6443")
    assert env["MY_DB_SERVICE_HOST"] == "127.64.128.9"
    assert env["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert env["MY_DB_PORT_5432_TCP_ADDR"] == "127.64.128.9"
    assert not any(name.startswith("H_") for name in env)
    off = service_variables([service], False, "https://127.0.0.1:6443")
    assert off["KUBERNETES_SERVICE_PORT"] == "6443"
    assert "MY_DB_SERVICE_HOST" not in off


@pytest.mark.parametrize(
    "name", ["python", "python:3", "python:3.11-slim", "docker.io/library/python:3.12", "busybox:1.36", "alpine"]
)
def test_runnable_images_are_found(name: str) -> None:
    assert find_image(name) is not None


@pytest.mark.parametrize(
    "name", ["nosuch:v9", "python:2.7", "python:3.11-slmi", "shop/python:3.11", "nginx", "python@sha256:00"]
)
def test_other_images_are_not(name: str) -> None:
    assert find_image(name) is None


def test_command_and_args_override_what_the_image_runs() -> None:
    image = find_image("python:3.11")
    assert image is not None
    assert argv_of(image, [], []) == ("python3",)
    assert argv_of(image, ["a"], []) == ("a",)
    assert argv_of(image, [], ["b"]) == ("b",)
    assert argv_of(image, ["a"], ["b"]) == ("a", "b")


def test_words_that_begin_with_a_mount_path_are_rewritten_and_others_left() -> None:
    mounts = Mounts(Path("/r"), ("/app", "/data"))
    assert mounts.rewrite_argv(["python", "/app/x.py", "/application", "--d=/data"]) == (
        "python",
        "/r/app/x.py",
        "/application",
        "--d=/data",
    )
    script = "cat /data/x >/app/y; ls /data /datax ./data a/data '/data'"
    assert (
        mounts.rewrite_argv(["sh", "-c", script])[2]
        == "cat /r/data/x >/r/app/y; ls /r/data /datax ./data a/data '/r/data'"
    )


@pytest.mark.parametrize(
    ("argv", "result"),
    [
        (["kill", "1"], ("kill", "77")),
        (["/bin/kill", "-TERM", "1"], ("/bin/kill", "-TERM", "77")),
        (["kill", "-9", "1"], ("kill", "-0", "77")),
        (["kill", "-0", "1"], ("kill", "-0", "77")),
        (["kill", "-s", "INT", "1"], ("kill", "-0", "77")),
        (["kill", "15"], ("kill", "15")),
        (["sh", "-c", "echo x && kill -15 1; true"], ("sh", "-c", "echo x && kill -15 77; true")),
        (["sh", "-c", "kill 12"], ("sh", "-c", "kill 12")),
        (["cat", "1"], ("cat", "1")),
        (["sh", "-c", "echo skilled 1"], ("sh", "-c", "echo skilled 1")),
    ],
)
def test_process_1_means_that_of_the_container_and_sees_only_signals_it_handles(
    argv: list[str], result: tuple[str, ...]
) -> None:
    assert guarded(argv, 77, lambda number: number == 15) == result


@pytest.mark.parametrize(
    "argv",
    [
        ["kill", "-9", "-1"],
        ["pkill", "python"],
        ["sh", "-c", "true; killall sh"],
        ["bash", "-c", "kill -- -1"],
        ["reboot"],
    ],
)
def test_signals_to_everybody_are_refused(argv: list[str]) -> None:
    with pytest.raises(Refused, match="no PID namespaces"):
        guarded(argv, 77, lambda _: True)


def test_a_volume_is_swapped_in_one_step_and_left_alone_when_equal(tmp_path: Path) -> None:
    swap(tmp_path, {"a": (b"1", 0o644), "sub/b": (b"2", 0o600)})
    before = (tmp_path / "..data").readlink()
    assert (tmp_path / "a").read_bytes() == b"1" and (tmp_path / "sub" / "b").read_bytes() == b"2"
    swap(tmp_path, {"a": (b"1", 0o644), "sub/b": (b"2", 0o600)})
    assert (tmp_path / "..data").readlink() == before
    swap(tmp_path, {"a": (b"3", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"3"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a"]
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 1
