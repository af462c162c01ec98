"""What no generator could follow is refused at the door, in one line, before a process starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.traffic.plan import GeneratorError, TrafficPlan, check, from_json, to_json

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"url": "https://shop.example"}, "TLS"),
        ({"url": "ftp://shop.example"}, "http://host:port"),
        ({"url": "http://"}, "http://host:port"),
        ({"url": "http://shop:many"}, "http://host:port"),
        ({"url": "http://user:secret@shop"}, "credentials belong in headers"),
        ({"url": "http://shop/?a=b"}, "scheme, host, port and path"),
        ({"policies": {"sticky": 1.0}}, "sticky"),
        ({"policies": {"fresh": 0.0}}, "above zero"),
        ({"policies": {}}, "above zero"),
        ({"rate_per_s": 0.0}, "above zero"),
        ({"timeout_s": 0.0}, "above zero"),
        ({"processes": 0}, "above zero"),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, "X-A"),
        ({"headers": {"X A": "b"}}, "X A"),
        ({"path": "/a b"}, "request line"),
        ({"path": "/a\r\nX: y"}, "request line"),
        ({"path": "a"}, "request line"),
        ({"locustfile": Path("/nowhere/locustfile.py")}, "no locustfile"),
    ],
)
def test_an_impossible_plan_is_refused(fields: dict[str, Any], because: str) -> None:
    with pytest.raises(GeneratorError, match=because):
        check(TrafficPlan(**{"url": URL, **fields}))


def test_a_possible_plan_is_not() -> None:
    check(TrafficPlan(URL, headers={"Authorization": "Bearer abc"}, policies={"fresh": 1.0}))


def test_a_locustfile_may_speak_tls(tmp_path: Path) -> None:
    (tmp_path / "locustfile.py").touch()
    check(TrafficPlan("https://shop.example", locustfile=tmp_path / "locustfile.py"))


def test_a_plan_survives_its_way_to_the_child(tmp_path: Path) -> None:
    plan = TrafficPlan(URL, headers={"A": "ö"}, locustfile=tmp_path / "locustfile.py", seed=5, arrivals="poisson")
    assert from_json(to_json(plan)) == plan
