"""The experiment's traffic as the generator is told it: values from the environment are found, never written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chaoskit.model.errors import ExperimentError, UsageError
from chaoskit.model.experiment import Experiment, Traffic
from chaoskit.model.plan import Route
from chaoskit.runner.load import load_text
from chaoskit.runner.sending import caveats, refuse_missing_values, traffic_plan, tried
from chaoskit.traffic.supervisor import generator
from tests.traffic.app import run_until_seen, serving

FILE = """
apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {{name: x}}
spec:
  target: {{namespace: shop, deployment: checkout, pick: 1}}
  traffic: {{service: checkout{more}}}
  fault: {{killPod: {{}}}}
"""
SECRET = "Bearer s3cret-of-nobody"
ROUTE = Route("url", "http://127.0.0.1:1", "given")


def experiment(more: str = "", folder: Path = Path()) -> Experiment:
    return load_text(FILE.format(more=more), "x.yaml", folder)


def test_the_simple_form_is_one_kind() -> None:
    plan = traffic_plan(experiment(", path: /cart, method: DELETE"), ROUTE, 3)
    assert [(kind.method, kind.path, kind.body, kind.weight) for kind in plan.kinds] == [("DELETE", "/cart", b"", 1.0)]
    assert (plan.processes, plan.resolve_every_s, plan.seed) == (1, 10.0, 3)


def test_bodies_become_bytes_with_their_type(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"\xff")
    requests = "[{path: /a, body: text}, {path: /b, body: {json: {n: 1}}}, {path: /c, body: {file: photo}, headers: {content-type: image/x}}]"
    plan = traffic_plan(experiment(f", requests: {requests}", tmp_path), ROUTE, 0)
    assert [(kind.body, {k.lower(): v for k, v in kind.headers.items()}["content-type"]) for kind in plan.kinds] == [
        (b"text", "text/plain; charset=utf-8"),
        (b'{"n": 1}', "application/json"),
        (tmp_path / "photo", "image/x"),
    ]


@pytest.mark.parametrize(
    ("more", "because"),
    [
        (", path: /a, requests: [{path: /b}]", "belong into each of them"),
        (", requests: [{path: /b, weight: 0}]", "greater than 0"),
        (", requests: [{path: /b, wieght: 2}]", "wieght"),
        (", body: {file: nowhere}", r"traffic\.body\.file: no such file"),
        (", requests: [{body: {file: nowhere}}]", r"requests\.0\.body\.file: no such file"),
        (", tls: {caFile: nowhere}", r"tls\.caFile: no such file"),
        (", body: {json: 1, text: b}", "a body is a text, or one of"),
        (", headers: {A: {valueFrom: {env: a b}}}", "not the name of an environment variable"),
        (", headers: {A: {valueFrom: {file: x}}}", "valueFrom: {env: NAME}"),
        (", trustClient: true", "there is none"),
        (", tls: {keyFile: x.yaml}", "belongs to a certFile"),
        (", tls: {insecureSkipVerify: true, caFile: x.yaml}", "no meaning"),
        (", url: 'http://x', tls: {insecureSkipVerify: true}", "tls needs an https url"),
        (", processes: 0", "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(more: str, because: str) -> None:
    with pytest.raises(ExperimentError, match=because) as refusal:
        experiment(more)
    assert str(refusal.value).startswith("x.yaml:7:")


def test_a_locustfile_is_found_beside_its_experiment(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"traffic\.locustfile: no such file"):
        experiment(", locustfile: users.py, users: 5", tmp_path)
    (tmp_path / "users.py").touch()
    plan = traffic_plan(experiment(", locustfile: users.py, users: 5, trustClient: true", tmp_path), ROUTE, 0)
    assert (plan.locustfile, plan.users, plan.trust_client) == (tmp_path / "users.py", 5, True)


WITH_SECRET = ", headers: {Authorization: {valueFrom: {env: SHOP_TOKEN}}}, requests: [{headers: {X-Key: {valueFrom: {env: SHOP_KEY}}}}]"


def test_a_variable_that_is_not_set_is_told_before_anything_starts() -> None:
    for environ, missing in (({}, "Authorization.*SHOP_TOKEN"), ({"SHOP_TOKEN": SECRET}, "X-Key.*SHOP_KEY")):
        with pytest.raises(UsageError, match=missing):
            refuse_missing_values(experiment(WITH_SECRET), environ)
    with pytest.raises(UsageError, match="not one line") as refusal:
        refuse_missing_values(experiment(WITH_SECRET), {"SHOP_TOKEN": f"{SECRET}\n", "SHOP_KEY": "k"})
    assert SECRET not in str(refusal.value)
    refuse_missing_values(experiment(WITH_SECRET), {"SHOP_TOKEN": SECRET, "SHOP_KEY": "k"})


def test_a_value_from_the_environment_is_sent_and_stands_nowhere_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app:
            environ = {"SHOP_TOKEN": SECRET, "SHOP_KEY": f"{SECRET}-too"}
            plan = traffic_plan(experiment(WITH_SECRET), Route("url", app.url, "given"), 0, environ)
            async with generator(plan, tmp_path) as traffic:
                await run_until_seen(traffic, app, 10)
                for pid in traffic.pids:
                    if (command := Path(f"/proc/{pid}/cmdline")).exists():
                        assert SECRET.encode() not in command.read_bytes()
            assert all(f"Authorization: {SECRET}".encode() in head for head in app.requests)
            assert all(f"X-Key: {SECRET}-too".encode() in head for head in app.requests)
            assert SECRET not in f"{plan!r}{traffic.facts}{traffic.health}"

    asyncio.run(scenario())
    for path in tmp_path.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in repr(experiment(WITH_SECRET))


def test_a_way_is_tried_with_a_request_that_changes_nothing() -> None:
    kinds = "[{path: /buy, method: POST}, {path: /cart, headers: {A: b}}]"
    assert tried(_traffic(f", headers: {{C: d}}, requests: {kinds}")) == ("/cart", {"C": "d", "A": "b"}, True)
    assert tried(_traffic(", path: /buy, method: POST")) == ("/buy", {}, False)


def _traffic(more: str) -> Traffic:
    traffic = experiment(more).traffic
    assert traffic is not None
    return traffic


def test_a_reader_of_the_plan_is_warned() -> None:
    assert caveats(experiment(), ROUTE, 60.0) == ()
    trusting = caveats(experiment(", tls: {insecureSkipVerify: true}"), ROUTE, 60.0)
    assert "insecureSkipVerify" in str(trusting[0])
    too_fast = experiment(", rate: 50000/s, connections: {fresh: 100%, reuse: 0%}")
    found = caveats(too_fast, Route("nodePort", "http://192.0.2.1:30000", "given"), 600.0)
    assert [caveat.blocks for caveat in found] == [True]
    assert "need more ports" in found[0].what
