"""Exit codes and texts of the command line, through real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from chaoskit.cli import VERBS, gravest, known, run_command_line, tell
from chaoskit.model.errors import ClusterError, CouldNotRun, NotRestored, UsageError
from tests.cli.command import ROOT, chaoskit

EXPERIMENT = str(ROOT / "experiments" / "checkout-survives-a-killed-pod.yaml")

HEAVY = ("kubernetes", "gevent", "locust", "aiohttp", "pydantic", "httpx", "rich", "yaml", "asyncio")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from chaoskit.cli import run_command_line; code = run_command_line(['--help']);"
        "print(*sorted(sys.modules), sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()}
    assert loaded & set(HEAVY) == set()
    ours = {name for name in done.stderr.splitlines() if name.startswith("chaoskit")}
    assert ours == {"chaoskit", "chaoskit.cli", "chaoskit.model", "chaoskit.model.errors"}


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    said = chaoskit("--help")
    assert said.code == 0
    assert all(f"  {verb} " in said.out for verb in VERBS)
    assert "NOT RESTORED" in said.out
    assert "129, 130, 143" in said.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_table_is_there_and_explains_itself(verb: str) -> None:
    said = chaoskit(verb, "--help")
    assert said.code == 0, said.err
    assert said.out.startswith(f"Usage: chaoskit {verb} ")


def test_the_version_is_told() -> None:
    from chaoskit import __version__

    assert chaoskit("--version").out == f"chaoskit {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("ruin",), ("run",), ("run", EXPERIMENT, "--sandbox", "--frobnicate"), ("judge",)]
)
def test_a_wrong_command_line_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    said = chaoskit(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_without_a_cluster_both_ways_are_explained(verb: str) -> None:
    said = chaoskit(verb, EXPERIMENT)
    assert said.code == 2
    assert "--sandbox" in said.err
    assert "--context NAME" in said.err


def test_sandbox_and_context_exclude_each_other() -> None:
    said = chaoskit("run", EXPERIMENT, "--sandbox", "--context", "prod")
    assert said.code == 2
    assert "exclude each other" in said.err


def test_a_named_context_without_a_terminal_needs_yes() -> None:
    said = chaoskit("run", EXPERIMENT, "--context", "prod")
    assert said.code == 2
    assert said.err.splitlines() == [
        "chaoskit: a run on a named context asks first, and there is no terminal to ask on; --yes answers it"
    ]


def test_an_unknown_context_is_a_usage_error_that_names_the_known_ones(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(_kubeconfig("https://127.0.0.1:1")))
    said = chaoskit("plan", EXPERIMENT, "--context", "stagin", KUBECONFIG=str(kubeconfig))
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert "'stagin' does not exist; did you mean 'staging'?" in line


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig whose server is none of Kubernetes."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kubeconfig = tmp_path / "config"
        kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{server.server_port}")))
        yield kubeconfig
        server.shutdown()


@pytest.mark.parametrize("verb", [("plan", EXPERIMENT), ("run", EXPERIMENT, "--yes"), ("recover",)])
def test_a_server_that_cannot_be_used_is_could_not_run(verb: tuple[str, ...], stranger: Path) -> None:
    said = chaoskit(*verb, "--context", "staging", "--kubeconfig", str(stranger), folder=stranger.parent)
    assert said.code == 3, said
    (line,) = said.err.splitlines()
    assert line.startswith("chaoskit: ")
    assert "/version" in line
    assert list(stranger.parent.iterdir()) == [stranger]


def test_a_run_that_cannot_begin_is_a_document_too(stranger: Path) -> None:
    place = ("--context", "staging", "--kubeconfig", str(stranger))
    said = chaoskit("run", EXPERIMENT, "--yes", *place, "-o", "json", folder=stranger.parent)
    assert said.code == 3
    document = json.loads(said.out)
    assert document["verdict"] == "INCONCLUSIVE"
    assert "/version" in document["because"]


def _kubeconfig(server: str) -> object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "staging", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "staging", "user": {"token": "t"}}],
        "contexts": [{"name": "staging", "context": {"cluster": "staging", "user": "staging"}}],
        "current-context": "staging",
    }


def test_a_run_folder_that_exists_is_never_written_over(tmp_path: Path) -> None:
    said = chaoskit("run", EXPERIMENT, "--sandbox", "--run-dir", str(tmp_path))
    assert said.code == 2
    assert "exists already" in said.err


@pytest.mark.parametrize("verb", ["judge", "report"])
def test_what_is_no_run_folder_is_a_usage_error(verb: str, tmp_path: Path) -> None:
    said = chaoskit(verb, str(tmp_path))
    assert said.code == 2
    assert said.err.splitlines() == [f"chaoskit: {tmp_path} is no run folder: it has no journal.jsonl"]


def test_list_shows_every_fault_and_slo() -> None:
    from chaoskit.experiments import FAULTS
    from chaoskit.slos import OWN

    said = chaoskit("list")
    assert said.code == 0
    assert {line.split()[0] for line in said.out.splitlines() if line.startswith("  ")} == {*FAULTS, *OWN}


def test_explain_tells_fields_defaults_and_promises_from_the_code() -> None:
    said = chaoskit("explain", "killPod")
    assert said.code == 0
    assert "grace: whole number >= 1 (optional)" in said.out
    assert "force: true or false (default False)" in said.out
    assert "Promises: replicasRestored, onlyReadyEndpoints" in said.out


def test_explain_shows_the_fields_inside_a_field() -> None:
    said = chaoskit("explain", "badCanary")
    assert "  patch: mapping (required)" in said.out
    assert "    image: text (optional)" in said.out


def test_explain_of_something_unknown_names_the_nearest() -> None:
    said = chaoskit("explain", "killPods")
    assert said.code == 2
    assert "did you mean killPod?" in said.err


def test_there_is_no_sandbox_where_none_was_started(tmp_path: Path) -> None:
    for verb in ("status", "kubeconfig"):
        assert chaoskit("sandbox", verb, XDG_STATE_HOME=str(tmp_path)).code == 3
    assert chaoskit("sandbox", "down", XDG_STATE_HOME=str(tmp_path)).code == 0


def test_the_gravest_code_is_the_first_of_the_order() -> None:
    assert gravest([]) == 0
    assert gravest([0, 3, 0]) == 3
    assert gravest([3, 1, 0]) == 1
    assert gravest([1, 130, 3]) == 130
    assert gravest([143, 4, 1]) == 4


def test_the_gravest_error_of_a_group_is_told() -> None:
    group = ExceptionGroup("side by side", [ExceptionGroup("deep", [NotRestored("node-1")]), CouldNotRun("no route")])
    assert isinstance(known(group), NotRestored)
    assert known(ExceptionGroup("foreign", [ValueError("x")])) is None


def test_each_error_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert [tell(error) for error in (UsageError("u"), ClusterError("c", 500), NotRestored("n"))] == [2, 3, 4]
    assert capsys.readouterr().err.splitlines() == ["chaoskit: u", "chaoskit: c", "chaoskit: n"]


def test_an_error_of_nobody_shows_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(ZeroDivisionError("oops")) == 3
    err = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in err
    assert "please report it" in err


def test_the_codes_come_back_to_a_caller_in_python() -> None:
    assert run_command_line(["explain", "killPod"]) == 0
    assert run_command_line(["explain", "nothing"]) == 2
