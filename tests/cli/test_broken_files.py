"""Every broken experiment file gives one line with its place and exit code 2, and starts nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaoskit.model.errors import ExperimentError
from chaoskit.runner.yaml_text import SIZE_LIMIT_BYTES
from tests.cli.command import BROKEN, ROOT, chaoskit

EXPECTED = {
    "alias": (10, 22, "anchors and aliases are not allowed"),
    "anchor": (10, 22, "anchors and aliases are not allowed"),
    "bad-duration": (10, 22, "5 is not a duration; write it with a unit"),
    "bad-guard": (10, 19, "'lots' is not a duration"),
    "bad-label": (5, 39, "'a b' is not a label value"),
    "bad-name": (3, 18, "'Broken_Name' is not a Kubernetes name"),
    "bad-namespace": (5, 23, "'../kube-system' is not a Kubernetes name"),
    "bad-objective": (9, 21, "'99%' is not an objective"),
    "bad-objective-unit": (9, 16, 'such as "p95 < 300ms"'),
    "bad-percent": (9, 21, "'101%' is not a percentage between 0% and 100%"),
    "bad-percentile": (9, 16, "p100 is not a percentile"),
    "bad-pick": (5, 57, "0 picks nothing"),
    "bad-rate": (6, 38, "100 is not a rate; write it as 100/s"),
    "bad-seed": (10, 9, "a whole number of zero or more, found -1"),
    "bad-shares": (6, 45, "must add up to 100%"),
    "bad-url": (6, 18, "found 'checkout'"),
    "bad-via": (6, 37, "found 'portForward'"),
    "bad-window": (9, 21, "over 'lunch': expected one of baseline, fault, recovery, run"),
    "comment-only": (1, 1, "expected an experiment, found nothing"),
    "control-character": (10, 24, "the character 0x0000 is not allowed"),
    "deep-nesting": (10, 135, "nested deeper than 32 levels"),
    "duplicate-key": (11, 3, "duplicate key 'slos', first given in line 8"),
    "duplicate-key-deep": (5, 51, "duplicate key 'namespace'"),
    "empty": (1, 1, "expected an experiment, found nothing"),
    "empty-selector": (5, 39, "an empty selector would mean every pod"),
    "empty-slos": (8, 9, "found an empty list"),
    "header-injection": (6, 47, "a header value must be one line of text"),
    "infinity": (10, 22, ".inf is not a finite number"),
    "key-is-a-list": (10, 5, "a key must be a plain word"),
    "list": (1, 1, "found a list"),
    "locustfile-without-users": (6, 12, "locustfile and users belong together"),
    "merge-key": (10, 12, "unknown key '<<'"),
    "missing-fault": (5, 3, "the key 'fault' is missing"),
    "missing-locustfile": (6, 44, "no such file or folder: no-such-locustfile.py"),
    "missing-manifests": (10, 22, "no such file or folder: no-such-folder"),
    "missing-name": (3, 11, "the key 'name' is missing"),
    "missing-namespace": (5, 11, "needs a namespace"),
    "missing-target": (5, 3, "the key 'target' is missing"),
    "nan": (10, 9, ".nan is not a finite number"),
    "negative-duration": (10, 22, "'-5s' is not a duration of zero or more"),
    "no-destination": (6, 12, "traffic needs a service or a url"),
    "no-fault": (7, 10, "expected one fault by its name, found 0 keys"),
    "no-target-kind": (5, 11, "names none"),
    "not-utf-8": (3, 20, "not UTF-8 text (byte 0xf6)"),
    "not-yaml": (11, 1, "not YAML: expected ',' or '}'"),
    "not-yaml-tab": (10, 1, "not YAML: found character '\\t'"),
    "pick-all-percent": (5, 57, "'100%' picks nothing"),
    "python-tag": (10, 22, "files are plain data"),
    "scalar": (1, 1, "found 'experiment'"),
    "tag": (10, 22, "files are plain data"),
    "two-documents": (12, 1, "expected one experiment, found 2 documents"),
    "two-faults": (7, 10, "found 2 keys"),
    "two-targets": (5, 11, "this one names deployment, pod"),
    "unknown-fault": (7, 11, "unknown fault 'killPodd'; did you mean killPod?"),
    "unknown-key": (10, 3, "unknown key 'phase'; did you mean 'phases'?"),
    "unknown-key-deep": (6, 32, "unknown key 'route'; did you mean 'rate'?"),
    "unknown-key-in-fault": (7, 21, "unknown key 'graze'; did you mean 'grace'?"),
    "unknown-key-top": (3, 1, "unknown key 'specs'; did you mean 'spec'?"),
    "unknown-slo": (9, 7, "did you mean 'availability'?"),
    "unknown-slo-text": (9, 7, "'uptime' is not an SLO"),
    "utf-16": (1, 1, "not UTF-8 text (byte 0xff)"),
    "wrong-api-version": (1, 13, "expected 'chaoskit.dev/v1alpha1'"),
    "wrong-kind": (2, 7, "expected 'Experiment', found 'Deployment'"),
    "wrong-type-boolean": (7, 28, "expected a valid boolean, found 'perhaps'"),
    "wrong-type-integer": (7, 28, "expected a valid integer, found 1.5"),
    "wrong-type-slos": (8, 9, "expected a list of SLOs, found 'availability'"),
    "wrong-type-spec": (4, 7, "found a list"),
    "wrong-type-target": (5, 11, "expected a mapping, found 'checkout'"),
    "wrong-type-users": (6, 38, "found '80:80'"),
    "zero-rate": (6, 38, "'0/s' is not a rate"),
}
"""Line, column and a part of the message, by file name."""

MANIFESTS = {
    "manifests-not-kubernetes": "manifests/not-kubernetes.yaml:1:1: expected a Kubernetes object",
    "manifests-not-yaml": "manifests/not-yaml.yaml:3:5: not YAML",
}
"""Files whose manifests are broken: the line names the manifest."""


def _one_line(*paths: str) -> str:
    """What `check` says of one file: exactly one line on stderr, exit code 2."""
    said = chaoskit("check", *paths, folder=BROKEN)
    assert said.code == 2, said
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_each_file_of_the_corpus_has_an_expectation() -> None:
    assert {path.stem for path in BROKEN.glob("*.yaml")} == EXPECTED.keys() | MANIFESTS.keys()
    assert len(EXPECTED) >= 30


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_broken_file_is_told_with_its_place(name: str) -> None:
    from chaoskit.cli.files import read_file

    line, column, part = EXPECTED[name]
    with pytest.raises(ExperimentError) as raised:
        read_file(BROKEN / f"{name}.yaml")
    said = str(raised.value)
    assert said.startswith(f"{BROKEN / name}.yaml:{line}:{column}: ")
    assert part in said
    assert "\n" not in said


def test_all_broken_files_of_one_command_line_are_told_one_line_each() -> None:
    names = [f"{name}.yaml" for name in sorted(EXPECTED)]
    said = chaoskit("check", *names, folder=BROKEN)
    assert said.code == 2
    assert said.out == ""
    assert [line.partition(":")[0] for line in said.err.splitlines()] == names
    assert all(re.match(r"[\w.-]+:\d+:\d+: \S", line) for line in said.err.splitlines())


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_broken_manifests_are_told_by_their_own_name(name: str) -> None:
    assert _one_line(f"{name}.yaml").startswith(MANIFESTS[name])


def test_a_missing_file_is_told_by_its_name() -> None:
    assert _one_line("no-such-file.yaml") == "no-such-file.yaml: cannot be read: No such file or directory"


def test_a_folder_is_no_experiment() -> None:
    assert _one_line("manifests") == "manifests: cannot be read: Is a directory"


def test_a_mebibyte_of_brackets_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "brackets.yaml"
    file.write_text("[" * (SIZE_LIMIT_BYTES - 1))
    assert _one_line(str(file)) == f"{file}:1:34: nested deeper than 32 levels"


def test_more_than_a_mebibyte_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("#" * (SIZE_LIMIT_BYTES + 1))
    assert _one_line(str(file)) == f"{file}:1:1: the file is larger than 1 MiB"


def test_a_device_without_an_end_is_refused() -> None:
    assert "/dev/zero:1:1: " in _one_line("/dev/zero")


def test_run_refuses_a_broken_file_among_good_ones_before_anything_starts(tmp_path: Path) -> None:
    good = ROOT / "experiments" / "checkout-survives-a-killed-pod.yaml"
    said = chaoskit("run", str(good), str(BROKEN / "nan.yaml"), "--sandbox", folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"{BROKEN / 'nan.yaml'}:10:9: .nan is not a finite number\n"
    assert list(tmp_path.iterdir()) == []


def test_the_experiments_of_this_repository_are_valid() -> None:
    files = sorted(str(path) for path in (ROOT / "experiments").glob("**/*.yaml"))
    said = chaoskit("check", *files)
    assert said.code == 0, said.err
    assert [line.partition(": valid: ")[0] for line in said.out.splitlines()] == files


def test_check_names_the_files_that_are_code() -> None:
    said = chaoskit("check", str(ROOT / "experiments" / "checkout-survives-a-killed-pod.yaml"))
    assert "manifests: " in said.out
    assert "sample-app/manifests/sturdy" in said.out
