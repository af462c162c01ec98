"""A kubeconfig means what it means to kubectl, and a context is never picked by accident."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from aiohttp import web

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import connect
from chaoskit.cluster.transport import opened
from chaoskit.model.errors import ClusterError, CouldNotRun, NotFound, UsageError
from chaoskit.model.operation import Right
from chaoskit.model.resource import Ref
from tests.cluster.served_api import TOKEN, certificate, connected, kubeconfig, served, status


def test_a_context_that_does_not_exist_names_the_known_ones_and_the_nearest(tmp_path: Path) -> None:
    config = kubeconfig("https://127.0.0.1:1", tmp_path)
    with pytest.raises(UsageError, match=r"'tset' does not exist; did you mean 'test'\? Known in .*: test"):
        read_access("tset", config)


def test_no_context_is_an_error_even_if_there_is_only_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--context"):
        read_access(None, kubeconfig("https://127.0.0.1:1", tmp_path))


def test_impersonation_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    config = kubeconfig("https://127.0.0.1:1", tmp_path, **{"token": TOKEN, "as": "somebody"})
    with pytest.raises(UsageError, match="impersonates 'somebody'"):
        read_access("test", config)


def test_kubeconfig_is_a_list_of_files_and_the_given_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    first, second = kubeconfig("https://127.0.0.1:1", one), kubeconfig("https://127.0.0.1:2", two)
    second.write_text(second.read_text().replace("name: test", "name: other"))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert read_access("test", None).server == "https://127.0.0.1:1"
    assert read_access("other", None).context == "other"
    with pytest.raises(UsageError):
        read_access("other", first)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "clusters: 1\ncontexts: 2\n", "{", "contexts: [{name: test, context: {cluster: nope}}]"]
)
def test_what_is_not_a_kubeconfig_is_one_line(tmp_path: Path, text: str) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_access("test", config)
    assert "\n" not in str(caught.value)


def test_keys_written_out_by_the_loader_do_not_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    pem, key = (base64.b64encode(part).decode() for part in certificate())
    config = kubeconfig("https://127.0.0.1:1", tmp_path, **{"client-certificate-data": pem, "client-key-data": key})
    read_access("test", config)
    assert list((tmp_path / "tmp").iterdir()) == []


def _plugin(folder: Path, script: str) -> dict[str, object]:
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


def test_a_credential_plugin_is_asked_and_a_failing_one_is_heard(tmp_path: Path) -> None:
    credential = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": TOKEN}}

    async def story() -> None:
        async with served() as (api, _):
            config = kubeconfig(
                api.server, tmp_path, **_plugin(tmp_path, f"print({json.dumps(json.dumps(credential))})")
            )
            async with connect(read_access("test", config)) as cluster:
                assert await cluster.server_version() == "v1.36.2"
            config = kubeconfig(api.server, tmp_path, **_plugin(tmp_path, "import sys; sys.exit('log in first')"))
            with pytest.raises(CouldNotRun, match="log in first"):
                read_access("test", config)

    asyncio.run(story())


def test_a_token_that_was_renewed_in_its_file_is_used_after_a_refusal(tmp_path: Path) -> None:
    async def story() -> None:
        async with served() as (api, _):
            token = tmp_path / "token"
            token.write_text("old")
            access = read_access("test", kubeconfig(api.server, tmp_path, tokenFile="token"))
            async with opened(access) as transport:
                with pytest.raises(ClusterError, match="Unauthorized"):
                    await transport.read("/version")
                token.write_text(TOKEN)
                assert await transport.read("/version")
            assert len(api.asked) == 4

    asyncio.run(story())


def test_a_stranger_on_the_port_is_refused_by_its_certificate(tmp_path: Path) -> None:
    async def story() -> None:
        async with served() as (api, _):
            config = kubeconfig(api.server, tmp_path)
            text = config.read_text().replace("certificate-authority: ca.crt", "insecure-skip-tls-verify: false")
            config.write_text(text)
            async with opened(read_access("test", config)) as transport:
                with pytest.raises(ClusterError, match=r"(?i)certificate"):
                    await transport._looked("GET", "/version", None, None)
            assert api.asked == []

    asyncio.run(story())


def test_reads_are_tried_again_and_end_with_the_servers_words() -> None:
    async def story() -> None:
        async with connected() as (api, cluster):
            troubles = [status(503, "", "starting"), status(429, "", "slow down")]

            async def some(request: web.Request) -> web.Response | None:
                return troubles.pop(0) if troubles else None

            api.trouble = some
            assert await cluster.server_version() == "v1.36.2"
            with pytest.raises(NotFound, match='"x" not found'):
                await cluster.get(Ref("Node", "x"))
            assert await cluster.find(Ref("Node", "x")) is None

    asyncio.run(story())


def test_the_clock_offset_is_bounded_by_the_date_header() -> None:
    async def story() -> None:
        async with connected() as (_, cluster):
            offset, error = await cluster.clock_offset()
            assert abs(offset) <= error <= 0.3

    asyncio.run(story())


def test_rights_are_asked_one_by_one() -> None:
    async def story() -> None:
        async with connected() as (api, cluster):

            async def reviewed(request: web.Request) -> web.Response | None:
                body = await request.json()
                return web.json_response(
                    {"status": {"allowed": body["spec"]["resourceAttributes"]["verb"] == "get"}}, status=201
                )

            api.trouble = reviewed
            evict = Right("create", "", "pods/eviction", "shop", "web-0")
            assert await cluster.missing(frozenset({evict, Right("get", "", "pods", "shop")})) == [evict]
            asked = [a.body["spec"]["resourceAttributes"] for a in api.asked]
            assert {
                "verb": "create",
                "resource": "pods",
                "subresource": "eviction",
                "namespace": "shop",
                "name": "web-0",
            } in asked

    asyncio.run(story())


def test_the_official_package_is_not_imported_by_importing_the_door() -> None:
    code = "import sys, chaoskit.cluster.live, chaoskit.cluster.setup; print([m for m in ('kubernetes', 'aiohttp', 'gevent') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
