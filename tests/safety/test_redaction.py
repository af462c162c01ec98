"""Canary secrets: put where secrets are, looked for wherever chaoskit writes. None may be found."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from chaoskit.model.event import decode
from chaoskit.runner import redact
from chaoskit.runner.folder import FileJournal, write_private
from tests.cli.command import ROOT

CANARIES = {
    "environment": "canary-env-9f3c1d",
    "header": "canary-header-5b77e0",
    "header from the environment": "canary-fromenv-e21a9c",
    "secret": "canary-secret-c0ffee",
    "secret as text": "canary-stringdata-71d2",
    "container": "canary-container-a8e4",
    "kubeconfig": "canary-kubeconfig-44bd",
    "printed by the locustfile": "canary-env-9f3c1d",
}


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    redact.forget()
    yield
    redact.forget()


def forms(secret: str) -> set[str]:
    """A secret as it stands, and as base64 and URLs write it."""
    return {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}


# -- the screen itself -------------------------------------------------------------------------------------------------------


def test_a_secret_is_masked_in_every_form_it_takes() -> None:
    secret = 'p"ss wörd/+&=longer'
    redact.learn([secret])
    for text in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe="")):
        assert redact.MASK in redact.clean(f"before {text} after")
        assert "ss" not in redact.clean(text)
    assert redact.clean(base64.b64encode(secret.encode()).decode()).startswith(redact.MASK)


def test_each_line_of_a_key_is_a_secret() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "-----END PRIVATE KEY-----"]
    redact.learn(["\n".join(lines)])
    assert redact.clean(f"x {lines[1]} y") == f"x {redact.MASK} y"


def test_of_two_secrets_the_longer_is_masked_whole() -> None:
    redact.learn(["hunter2hunter2", "hunter2hunter2-and-more"])
    assert redact.clean("hunter2hunter2-and-more") == redact.MASK


@pytest.mark.parametrize("value", ["", "true", "shop", "1234567"])
def test_short_values_are_not_looked_for(value: str) -> None:
    redact.learn([value])
    assert redact.clean(f"a {value} b") == f"a {value} b"


def test_which_variables_are_secret() -> None:
    environment = {
        "GITHUB_TOKEN": "one-secret-value",
        "DB_PASSWORD": "two-secret-value",
        "AWS_SECRET_ACCESS_KEY": "three-secret",
        "HOME": "/root/of/somebody",
        "SSH_AUTH_SOCK": "/tmp/ssh-agent.1",
        "LANG": "en_US.UTF-8",
    }
    found = redact.secrets_of_environment(environment)
    assert found == ["one-secret-value", "two-secret-value", "three-secret"]


def test_what_a_kubeconfig_authenticates_with_is_secret(tmp_path: Path) -> None:
    users = [
        {"name": "a", "user": {"token": "token-of-user-a", "client-certificate-data": "cGxhaW4="}},
        {"name": "b", "user": {"password": "password-of-b", "username": "bob"}},
        {"name": "c", "user": {"client-key-data": base64.b64encode(b"key-of-user-c").decode()}},
        {"name": "d", "user": {"exec": {"command": "x", "env": [{"name": "API_TOKEN", "value": "token-of-plugin"}]}}},
    ]
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump({"kind": "Config", "users": users}))
    found = redact.secrets_of_kubeconfig(f"{path}:{tmp_path / 'no-such-file'}")
    assert {"token-of-user-a", "password-of-b", "key-of-user-c", "token-of-plugin"} <= set(found)
    assert "bob" not in found


def test_a_kubeconfig_that_is_none_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for text in ("[", "users: 7", "- a", "\x00"):
        path.write_text(text)
        assert redact.secrets_of_kubeconfig(str(path)) == []


def test_journal_and_files_are_screened_and_the_journal_stays_readable(tmp_path: Path) -> None:
    redact.learn(["canary-journal-1"])
    descriptor = os.open(tmp_path / "journal.jsonl", os.O_WRONLY | os.O_CREAT, 0o600)
    journal = FileJournal(descriptor, lambda: 1)
    journal.note("step.refused", id="0.0", because="the server said canary-journal-1, twice: canary-journal-1")
    journal.close()
    (line,) = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert decode(line).data["because"] == "the server said REDACTED, twice: REDACTED"
    write_private(tmp_path / "verdict.json", "canary-journal-1")
    assert (tmp_path / "verdict.json").read_text() == redact.MASK


def test_a_record_that_the_undo_is_read_from_is_left_as_it_is(tmp_path: Path) -> None:
    redact.learn(["checkout-storefront"])
    descriptor = os.open(tmp_path / "journal.jsonl", os.O_WRONLY | os.O_CREAT, 0o600)
    journal = FileJournal(descriptor, lambda: 1)
    journal.note("stage.intended", stage=0, round=0, steps=[{"ref": "checkout-storefront"}])
    journal.close()
    assert "checkout-storefront" in (tmp_path / "journal.jsonl").read_text()


def test_a_screened_stream_is_the_stream_in_all_else() -> None:
    redact.learn(["canary-stream-1"])
    under = io.StringIO()
    stream: Any = redact.Screened(under)
    stream.writelines(["a canary-stream-1\n", "b\n"])
    stream.flush()
    assert stream.isatty() is False
    assert under.getvalue() == "a REDACTED\nb\n"


# -- a whole run -------------------------------------------------------------------------------------------------------------

LOCUSTFILE = """
import os
from locust import FastHttpUser, constant, task

print("the locustfile says", os.environ["CHAOS_API_TOKEN"])

class Shopper(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def look(self):
        self.client.get("/")
"""

PROBE = """
import asyncio, sys
from pathlib import Path
from chaoskit.cli import place as places

inner = places.connect

def spying(access):
    Path("server.txt").write_text(access.server)
    return inner(access)

places.connect = spying
from chaoskit.cli import running

ended = running._conducted

async def conducted(file, where, *rest, **more):
    found = await ended(file, where, *rest, **more)
    objects = []
    for kind in ("ConfigMap", "Event", "Lease"):
        objects += [o for o in await where.cluster.list(kind) if "code" not in o["metadata"]["name"]]
    texts = [repr(o) for o in objects if "chaoskit" in repr(o["metadata"].get("labels")) or o.get("source", {}).get("component") == "chaoskit"]
    Path("cluster.txt").write_text("\\n".join(texts))
    return found

running._conducted = conducted
from chaoskit.cli import run_command_line
sys.exit(run_command_line(sys.argv[1:]))
"""
"""The command line, and what is left in the cluster written down before the sandbox goes."""


def _experiment(folder: Path, traffic: str, headers: str) -> Path:
    manifests = folder / "manifests"
    manifests.mkdir()
    for file in sorted((ROOT / "sample-app" / "manifests" / "sturdy").iterdir()):
        (manifests / file.name).write_text(file.read_text())
    deployment = yaml.safe_load((manifests / "20-checkout.yaml").read_text())
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container.setdefault("env", []).append({"name": "INNOCENT", "value": CANARIES["container"]})
    (manifests / "20-checkout.yaml").write_text(yaml.safe_dump(deployment))
    data = {"a": base64.b64encode(CANARIES["secret"].encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": data}
    (manifests / "90-secret.yaml").write_text(
        yaml.safe_dump(secret | {"stringData": {"b": CANARIES["secret as text"]}})
    )
    file = folder / "experiment.yaml"
    file.write_text(
        f"""apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {{name: canaries}}
spec:
  setup: {{manifests: manifests}}
  target: {{namespace: shop, deployment: checkout}}
  traffic: {{service: checkout, path: /, {traffic}{headers}}}
  fault: {{badCanary: {{patch: {{env: {{BROKEN: requests}}}}}}}}
  slos: [canaryContained]
  phases: {{baseline: 1s, hold: 1s, sustain: 1s, settle: 5s}}
"""
    )
    return file


def _found(folder: Path, texts: dict[str, str]) -> list[str]:
    """Every canary that stands somewhere: where, and which."""
    for path in folder.glob("runs/*/*"):
        texts[path.name] = path.read_bytes().decode("utf-8", "replace")
    return [
        f"{name} in {where}"
        for name, secret in CANARIES.items()
        for where, text in texts.items()
        if any(form in text for form in forms(secret))
    ]


@pytest.mark.parametrize("kind", ["built-in", "locustfile"])
def test_no_canary_is_found_in_any_artefact_of_a_run(tmp_path: Path, kind: str) -> None:
    headers = (
        f", headers: {{Authorization: Bearer {CANARIES['header']}, X-Key: {{valueFrom: {{env: SHOP_HEADER}}}}}}"
        if kind == "built-in"
        else ""
    )
    traffic = "rate: 40/s" if kind == "built-in" else "locustfile: shoppers.py, users: 2"
    (tmp_path / "shoppers.py").write_text(LOCUSTFILE)
    file = _experiment(tmp_path, traffic, headers)
    stray = {"users": [{"name": "x", "user": {"token": CANARIES["kubeconfig"]}}]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(stray))
    environment = {
        **os.environ,
        "CHAOS_API_TOKEN": CANARIES["environment"],
        "SHOP_HEADER": CANARIES["header from the environment"],
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "run", str(file), "--sandbox", "-o", "json", "--junit", "junit.xml"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 3) and (tmp_path / "cluster.txt").exists(), done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    cluster = (tmp_path / "cluster.txt").read_text()
    assert "ChaosInjected" in cluster
    assert (folder / "verdict.json").exists(), done.stderr
    if kind == "locustfile":
        assert "the locustfile says REDACTED" in (folder / "traffic.log").read_text()
    else:
        assert redact.MASK in (folder / "experiment.yaml").read_text()
    texts = {
        "stdout": done.stdout,
        "stderr": done.stderr,
        "junit.xml": (tmp_path / "junit.xml").read_text(),
        "cluster": cluster,
    }
    assert _found(tmp_path, texts) == []
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()} == {"0o600"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_search_finds_a_canary_that_is_there(tmp_path: Path) -> None:
    """The sabotage."""
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "journal.jsonl").write_text(base64.b64encode(CANARIES["secret"].encode()).decode())
    assert _found(tmp_path, {}) == ["secret in journal.jsonl"]
