"""Each fault under exactly its generated role, on a cluster with real RBAC; then the role without each of its verbs. Prints a table.

By hand, with kubectl on the PATH and rights of an administrator: `python -m tests.safety.minimal_rbac CONTEXT [EXPERIMENT...]`. It makes the
namespaces rbac-proof and chaoskit, and takes the first one away again. About three minutes for the five experiments.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.model.operation import Right
from chaoskit.reports.role import render_roles, without_implied
from chaoskit.runner.load import load
from chaoskit.runner.preflight import lacking
from chaoskit.runner.rights import Needs, foreseen_needs

ROOT = Path(__file__).parents[2]
SPACE, STATE, ACCOUNT, ROLE = "rbac-proof", "chaoskit", "prover", "chaoskit-proof"
SUBJECT = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SPACE}
GRANTED_WITHIN_S = 5.0


@dataclass(frozen=True)
class Kubectl:
    """The administrator."""

    context: str

    def __call__(self, *words: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", "--context", self.context, *words], input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise SystemExit(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def grant(self, rights: frozenset[Right]) -> None:
        """Exactly these to our account, nothing else."""
        documents = list(yaml.safe_load_all(render_roles(rights, ROLE, [])))
        for document in documents:
            if document["kind"].endswith("Binding"):
                document["subjects"] = [SUBJECT]
        places = {(document["kind"], document["metadata"].get("namespace", "")) for document in documents}
        for kind, place in {("Role", SPACE), ("Role", STATE), ("ClusterRole", "")} - places:
            self("delete", kind, ROLE, *(("-n", place) if place else ()), "--ignore-not-found")
        self("apply", "-f", "-", stdin="---\n".join(map(yaml.safe_dump, documents)))


def prepared(kubectl: Kubectl, folder: Path) -> Path:
    """The application, an account, and a kubeconfig of the account alone; its path."""
    for name, labels in ((SPACE, ["chaoskit.dev/allow=true"]), (STATE, [])):
        kubectl("create", "namespace", name, check=False)
        for label in labels:
            kubectl("label", "namespace", name, label, "--overwrite")
    kubectl("apply", "-n", SPACE, "-f", str(ROOT / "sample-app" / "manifests" / "sturdy"))
    kubectl("create", "serviceaccount", ACCOUNT, "-n", SPACE, check=False)
    for name in ("checkout", "storefront"):
        kubectl("rollout", "status", f"deployment/{name}", "-n", SPACE, "--timeout=120s")
    token = kubectl("create", "token", ACCOUNT, "-n", SPACE, "--duration=2h").strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"] = [{"name": ACCOUNT, "user": {"token": token}}]
    config["contexts"] = [
        {"name": ACCOUNT, "context": {"cluster": config["clusters"][0]["name"], "user": ACCOUNT, "namespace": SPACE}}
    ]
    config["current-context"] = ACCOUNT
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


def experiment(source: Path, folder: Path) -> Path:
    """The experiment on our namespace, without its setup and with short phases."""
    document = yaml.safe_load(source.read_text())
    spec = document["spec"]
    spec.pop("setup", None)
    spec["target"]["namespace"] = SPACE
    spec["phases"] = {"baseline": "2s", "hold": "6s", "sustain": "2s"}
    file = folder / source.name
    file.write_text(yaml.safe_dump(document))
    return file


def chaoskit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaoskit", *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=dict(os.environ)
    )


async def removals(kubectl: Kubectl, needed: Needs, kubeconfig: Path) -> tuple[int, list[str]]:
    """How many rights were taken away, one at a time, and those that the preflight did not name."""
    rights = without_implied(needed.all)
    unnamed = []
    async with connect(read_access(ACCOUNT, kubeconfig)) as cluster:
        for right in sorted(rights, key=str):
            kubectl.grant(rights - {right})
            if not await _missed(cluster, needed, right):
                unnamed.append(f"{right.verb} {right.resource} in {right.namespace}")
    return len(rights), unnamed


async def _missed(cluster: LiveCluster, needed: Needs, right: Right) -> bool:
    give_up = time.monotonic() + GRANTED_WITHIN_S
    words = f"{right.verb} {right.resource}"
    while time.monotonic() < give_up:
        caveats = await lacking(needed, cluster)
        # Exactly this one: another would say that the role is not the one that was meant.
        if any(words in caveat.what for caveat in caveats) and all(
            caveat.what.count(" in ") <= 2 for caveat in caveats
        ):
            return True
        await asyncio.sleep(0.05)
    return False


def proven(kubectl: Kubectl, source: Path, folder: Path, kubeconfig: Path) -> bool:
    """One line of the table."""
    file = experiment(source, folder)
    needed = asyncio.run(foreseen_needs(load(file)))
    kubectl.grant(without_implied(needed.all))
    done = chaoskit(folder, "run", file.name, "--context", ACCOUNT, "--kubeconfig", str(kubeconfig), "--yes")
    count, unnamed = asyncio.run(removals(kubectl, needed, kubeconfig))
    sound = done.returncode == 0 and not unnamed
    print(
        f"{'ok  ' if sound else 'BAD '} {source.stem:<55} run: exit {done.returncode}   verbs removed: {count}, not named: {len(unnamed)}",
        flush=True,
    )
    for line in unnamed:
        print(f"       not named: {line}")
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-1500:])
    for name in ("checkout", "storefront"):
        kubectl("rollout", "status", f"deployment/{name}", "-n", SPACE, "--timeout=120s")
    return sound


def main(context: str, names: Sequence[str]) -> int:
    kubectl = Kubectl(context)
    sources = [path for path in sorted((ROOT / "experiments").glob("*.yaml")) if not names or path.stem in names]
    with tempfile.TemporaryDirectory(prefix="chaoskit-rbac-") as made:
        try:
            kubeconfig = prepared(kubectl, Path(made))
            proofs = [proven(kubectl, source, Path(made), kubeconfig) for source in sources]
            return 0 if all(proofs) else 1
        finally:
            for kind in ("clusterrole", "clusterrolebinding"):
                kubectl("delete", kind, ROLE, "--ignore-not-found")
            for kind in ("role", "rolebinding"):
                kubectl("delete", kind, ROLE, "-n", STATE, "--ignore-not-found")
            kubectl("delete", "namespace", SPACE, "--wait=false", check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
