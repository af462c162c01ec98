"""Whatever an experiment file holds: one clean line or a valid experiment, never a traceback, never a write. Fuzzed two ways."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.cluster.address import path_of, proxied
from chaoskit.experiments import FAULTS
from chaoskit.model.errors import CouldNotRun, ExperimentError
from chaoskit.model.resource import Ref
from chaoskit.runner.load import load_text
from tests.safety import malformed

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(malformed.NASTY)
)
KEYS = st.text(max_size=8) | st.sampled_from(
    ["namespace", "deployment", "pick", "rate", "path", "http", "exec", "grace", "keep", "maxPods"]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def test_damaged_files_are_refused_in_one_line_or_plan_without_a_write() -> None:
    """The small part; `python -m tests.safety.malformed 10000` is the whole."""
    done = malformed.outcomes(range(1500))
    assert [(seed, said) for seed, said in done if not malformed.is_clean(said)] == []
    assert sum(said.startswith("valid") for _, said in done) >= 50, (
        "too few stayed valid: the fuzzing would prove little"
    )
    assert sum(said == "refused" for _, said in done) >= 200


@pytest.mark.parametrize(
    "section", ["target", "traffic", "fault", "slos", "phases", "guards", "seed", "setup", "control", "repeat"]
)
@given(value=VALUES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_of_a_section_is_told_in_one_line(section: str, value: object) -> None:
    document = {
        "apiVersion": "chaoskit.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "any"},
        "spec": {"target": {"namespace": "shop", "deployment": "checkout"}, "fault": {"killPod": {}}}
        | {section: value},
    }
    try:
        text = yaml.safe_dump(document, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        return
    _loads_or_says(text)


@pytest.mark.parametrize("fault", sorted(FAULTS))
@given(value=VALUES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_of_a_fault_is_told_in_one_line(fault: str, value: object) -> None:
    target = '{"namespace": "shop", "deployment": "checkout"}'
    try:
        fields = json.dumps(value)
    except (TypeError, ValueError):
        return
    _loads_or_says(
        "apiVersion: chaoskit.dev/v1alpha1\nkind: Experiment\nmetadata: {name: any}\nspec:\n"
        f'  target: {target}\n  fault: {{"{fault}": {fields}}}\n'
    )


@given(text=st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_is_told_in_one_line(text: str) -> None:
    _loads_or_says(text)


def _loads_or_says(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_text(text, "any.yaml", Path(folder))
        except ExperimentError as error:
            said = str(error)
            assert said.startswith("any.yaml:")
            assert said.isprintable(), repr(said)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "A", "a b", "", ".", "..", "a\n", "a%2f", "a?x=1", "a#b", "é", "a" * 254]
)
def test_a_name_is_checked_before_it_is_part_of_a_url(name: str) -> None:
    with pytest.raises(CouldNotRun, match="is not a Kubernetes name"):
        path_of(Ref("Pod", name, "shop"))
    if name:
        with pytest.raises(CouldNotRun, match="is not a Kubernetes name"):
            path_of(Ref("Pod", "web", name))


@pytest.mark.parametrize("path", ["x", "/../x", "/a/../../b", "/a b", "/a\nb", "/é", "//../x", "/a\\b", "/a#b"])
def test_a_path_to_a_pod_leads_nowhere_else(path: str) -> None:
    with pytest.raises(CouldNotRun, match="is not a path"):
        proxied(Ref("Pod", "web", "shop"), 80, path)
