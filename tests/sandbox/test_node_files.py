"""What pods find in their folders: live configuration, secrets in memory, disks that stay and disks that go."""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
from pathlib import Path
from typing import Any

from chaoskit.sandbox import janitor
from tests.sandbox.one_node import NODE, OneNode, one_node, start_node, until
from tests.sandbox.test_node_pods import POLITE, python, until_up
from tests.sandbox.tiny_api import merged, pod_path

Obj = dict[str, Any]
SPACE = "/api/v1/namespaces/shop"


def put(node: OneNode, resource: str, name: str, **body: Any) -> None:
    node.api.put(f"{SPACE}/{resource}/{name}", {"metadata": {"name": name, "namespace": "shop"}, **body})


def volume(node: OneNode, pod: str, name: str = "v") -> Path:
    return (
        node.settings.state_dir / NODE / "pods" / str((node.api.pod(pod) or {})["metadata"]["uid"]) / "volumes" / name
    )


def mounting(node: OneNode, pod: str, source: Obj, *, mounts: tuple[Obj, ...] = (), **spec: Any) -> None:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v"}, *mounts]}
    node.run(pod, python(POLITE), container=container, volumes=[{"name": "v", **source}], **spec)


def test_a_change_of_the_pod_brings_new_contents_at_once_but_not_to_a_sub_path_or_the_environment() -> None:
    async def scenario() -> None:
        async with one_node(config_map_sync_s=600.0) as node:
            put(node, "configmaps", "c", data={"k": "one"})
            show = "import os, time; print('up', os.environ['K'], flush=True); time.sleep(600)"
            key = {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
            mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/part", "subPath": "k"}]
            container = {"env": [key], "volumeMounts": mounts}
            node.run("p", python(show), container=container, volumes=[{"name": "v", "configMap": {"name": "c"}}])
            await until_up(node, "p")
            file, part = volume(node, "p") / "k", volume(node, "p").parents[1] / "app" / "0" / "part"
            assert file.read_text() == part.read_text() == "one" and (file.parent / "..data").is_symlink()
            put(node, "configmaps", "c", data={"k": "two"})
            await asyncio.sleep(0.3)
            assert file.read_text() == "one"  # the sync period is ten minutes
            pod = node.api.pod("p") or {}
            node.api.put(pod_path("p"), merged(pod, {"metadata": {"annotations": {"touched": "yes"}}}))
            await until(lambda: file.read_text() == "two", 3)
            assert part.read_text() == "one" and "two" not in await node.log("p")

    asyncio.run(scenario())


def test_an_optional_config_map_may_come_late_and_labels_are_live() -> None:
    async def scenario() -> None:
        async with one_node(config_map_sync_s=0.2) as node:
            fields = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            late = {"configMap": {"name": "late", "optional": True}}
            mounting(node, "p", {"projected": {"sources": [late, {"downwardAPI": {"items": fields}}]}})
            await until_up(node, "p")
            assert not (volume(node, "p") / "k").exists()
            put(node, "configmaps", "late", data={"k": "here"})
            await until(lambda: (volume(node, "p") / "k").exists(), 3)
            node.api.put(pod_path("p"), merged(node.api.pod("p") or {}, {"metadata": {"labels": {"tier": "web"}}}))
            await until(lambda: 'tier="web"' in (volume(node, "p") / "labels").read_text(), 3)

    asyncio.run(scenario())


def test_secrets_and_memory_are_not_on_a_disk_and_go_with_the_pod() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            put(node, "secrets", "s", data={"password": base64.b64encode(b"geheim").decode()})
            mounting(node, "p", {"secret": {"secretName": "s"}})
            mounting(node, "m", {"emptyDir": {"medium": "Memory"}})
            for pod in ("p", "m"):
                await until_up(node, pod)
            home = janitor.memory_dir(node.settings.id)
            for pod in ("p", "m"):
                assert volume(node, pod).resolve().is_relative_to(home)
            assert (volume(node, "p") / "password").read_text() == "geheim"
            there = volume(node, "p").resolve()
            node.api.delete_pod("p", 5)
            await node.api.until(lambda: node.api.pod("p") is None)
            await until(lambda: not there.exists(), 3)

    asyncio.run(scenario())


def test_an_empty_dir_outlives_a_restart_and_a_power_cut_but_not_its_pod() -> None:
    async def scenario() -> None:
        async with one_node(crash_loop_initial_s=0.1) as node:
            script = "ls /v > /v/seen-$(ls /v | wc -l); sleep 0.3; [ $(ls /v | wc -l) -ge 3 ] && sleep 600; exit 1"
            mounts = [{"name": "v", "mountPath": "/v"}]
            node.run(
                "p", ["sh", "-c", script], container={"volumeMounts": mounts}, volumes=[{"name": "v", "emptyDir": {}}]
            )
            await until(
                lambda: node.api.pod("p") and volume(node, "p").exists() and len(list(volume(node, "p").iterdir())) == 3
            )
            before = volume(node, "p")
            node.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(node.process.wait)
            second = start_node(node.settings)
            try:
                await until(lambda: len(list(before.iterdir())) == 4)
                node.api.delete_pod("p", 0)
                await until(lambda: not before.exists())
            finally:
                second.terminate()
                await asyncio.to_thread(second.wait, 10)

    asyncio.run(scenario())


def test_a_claim_is_a_folder_that_the_next_pod_finds_and_a_new_claim_is_empty() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            claim = {"persistentVolumeClaim": {"claimName": "data-db-0"}}
            mounting(node, "first", claim)
            await node.api.until(lambda: node.api.events("FailedMount"))
            assert 'persistentvolumeclaim "data-db-0" not found' in node.api.events("FailedMount")[0]["message"]
            put(node, "persistentvolumeclaims", "data-db-0")
            await until_up(node, "first")
            (volume(node, "first") / "kept").write_text("x")
            node.api.delete_pod("first", 5)
            await node.api.until(lambda: node.api.pod("first") is None)
            mounting(node, "second", claim)
            await until_up(node, "second")
            assert (volume(node, "second") / "kept").read_text() == "x"
            node.api.drop(f"{SPACE}/persistentvolumeclaims/data-db-0")
            put(node, "persistentvolumeclaims", "data-db-0")
            mounting(node, "third", claim)
            await until_up(node, "third")
            assert not (volume(node, "third") / "kept").exists()
            shutil.rmtree(node.settings.state_dir / "claims")

    asyncio.run(scenario())


def test_a_host_path_is_refused_and_a_token_that_nobody_gives_is_told() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            mounting(node, "host", {"hostPath": {"path": "/etc"}})
            await node.api.until(lambda: node.api.events("FailedMount"))
            assert "hostPath is refused" in node.api.events("FailedMount")[0]["message"]
            node.api.unserved.add("/token")
            mounting(node, "token", {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}})
            await until_up(node, "token")
            assert node.api.events("ServiceAccountTokenSkipped") and not (volume(node, "token") / "token").exists()
            node.api.unserved.clear()
            mounting(node, "given", {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}})
            await until_up(node, "given")
            assert (volume(node, "given") / "token").read_text() == "token-of-given"

    asyncio.run(scenario())
