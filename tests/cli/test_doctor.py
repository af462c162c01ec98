"""`chaoskit doctor`: each check says what it found, and how to mend it."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour.access import Access
from tests.cli.command import chaoskit


def test_a_sound_machine_and_cluster_are_said_to_be_sound(kubeconfig: Access) -> None:
    said = chaoskit("doctor", "--context", kubeconfig.context, "--kubeconfig", str(kubeconfig.path))
    assert said.code == 0, said
    checks = [line.split()[1].rstrip(":") for line in said.out.splitlines() if line.startswith("ok")]
    assert checks == ["client", "generator", "sandbox", "server", "user", "rights", "route", "clock"]


def test_a_cluster_that_cannot_be_reached_is_told_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "kind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: gone, context: {cluster: c, user: u}}]\n"
    )
    said = chaoskit("doctor", "--context", "gone", "--kubeconfig", str(tmp_path / "config"))
    assert said.code == 3
    assert "cluster: the API server http://127.0.0.1:1" in said.out
    assert "fix: check the context with" in said.out


def test_an_unknown_context_is_told_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("kind: Config\nclusters: []\nusers: []\ncontexts: []\n")
    said = chaoskit("doctor", "--context", "nowhere", "--kubeconfig", str(tmp_path / "config"))
    assert said.code == 3
    assert "context 'nowhere' does not exist" in said.out
