"""A named cluster: consent, setup, and what a killed run leaves there until it is put back. The cluster is a detached sandbox."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cli.command import ROOT, read_until
from tests.end_to_end.running import Ended, Place

EXPERIMENT = f"""
apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {{name: checkout-beside-a-canary}}
spec:
  setup: {{manifests: {ROOT / "sample-app" / "manifests" / "sturdy"}}}
  target: {{namespace: shop, deployment: checkout}}
  traffic: {{service: checkout, path: /, rate: 50/s}}
  fault: {{badCanary: {{patch: {{env: {{BROKEN: requests}}}}}}}}
  slos:
    - availability: ">= 80%"
  phases: {{baseline: 1s, hold: 2s, sustain: 1s}}
"""

NAMED = ("--context", "chaoskit-sandbox", "--kubeconfig", "kubeconfig")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A detached sandbox that is addressed by its context, as any other cluster."""

    place: Place

    def run(self, *arguments: str) -> Ended:
        return self.place.run("run", "canary.yaml", *NAMED, *arguments)

    def recover(self, *arguments: str) -> Ended:
        return self.place.run("recover", *NAMED, *arguments)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    place = Place(tmp_path_factory.mktemp("named"))
    (place.path / "canary.yaml").write_text(EXPERIMENT)
    up = place.run("sandbox", "up", "--kubeconfig", "kubeconfig")
    assert up.code == 0, up.err
    try:
        yield Cluster(place)
    finally:
        assert place.run("sandbox", "down").code == 0


def test_a_run_without_its_application_says_what_is_missing(cluster: Cluster) -> None:
    said = cluster.run("--yes")
    assert said.code == 3
    assert "checkout" in said.err
    assert not (cluster.place.path / "runs").exists()


def test_setup_is_removed_after_the_run(cluster: Cluster) -> None:
    said = cluster.run("--yes", "--setup", "-o", "json")
    assert said.code == 0, said.err
    assert said.result["context"] == "chaoskit-sandbox"
    clean = cluster.recover("--check")
    assert (clean.code, clean.out) == (0, "clean: nothing is left of any run\n")


def test_whoever_does_not_say_yes_is_not_run(cluster: Cluster) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chaoskit", "run", "canary.yaml", *NAMED, "--setup"],
        cwd=cluster.place.path,
        env=cluster.place.environment(),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(master, b"no\n")
    out, err = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert (process.returncode, out) == (3, "")
    assert "Apply 5 manifests to context chaoskit-sandbox?" in err
    assert err.endswith("chaoskit: not confirmed; nothing was touched\n")


def test_what_a_killed_run_left_is_found_bars_the_next_run_and_is_put_back(cluster: Cluster) -> None:
    process = cluster.place.start(
        "run", "canary.yaml", *NAMED, "--yes", "--setup", "--no-watchdog", "--run-dir", "killed"
    )
    read_until(process.stderr, " s  hold")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    looked = cluster.recover("--check", "-n", "shop")
    assert looked.code == 4
    assert "to put back: delete deployment shop/checkout-canary-" in looked.out

    barred = cluster.run("--yes")
    assert barred.code == 3
    assert "put them back first: chaoskit recover --context chaoskit-sandbox -n shop" in barred.err

    put_back = cluster.recover("--run-dir", "killed")
    assert put_back.code == 0, put_back.err
    assert "undone: delete deployment shop/checkout-canary-" in put_back.out
    assert cluster.recover("--check").code == 0


def test_recovering_a_clean_cluster_does_no_harm(cluster: Cluster) -> None:
    assert cluster.recover().code == 0
    assert cluster.place.run("recover", "--context", "elsewhere", "--kubeconfig", "kubeconfig").code == 2
