"""What no generator could follow is refused at the door, in one line, before a process starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.traffic.plan import GeneratorError, RequestKind, Tls, TrafficPlan, check, from_json, to_json

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"url": "https://shop.example", "tls": Tls(ca_file=Path("/nowhere/ca.pem"))}, "no file /nowhere/ca.pem"),
        ({"url": "https://shop.example", "tls": Tls(key_file=Path("/nowhere/key.pem"))}, "belongs to a tls.certFile"),
        ({"requests": (RequestKind("/a b"),)}, "request line"),
        ({"requests": (RequestKind(weight=0.0),)}, "above zero"),
        ({"requests": (RequestKind(headers={"X-A": "b\nc"}),)}, "X-A.* of GET /"),
        ({"requests": (RequestKind(headers={"content-length": "3"}),)}, "follows from the body"),
        ({"requests": (RequestKind(body=Path("/nowhere/body")),)}, "body of GET / cannot be read"),
        ({"resolve_every_s": 0.0}, "above zero"),
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
    requests = (
        RequestKind("/a", body=b"\xff\0", weight=2.5),
        RequestKind("/b", "PUT", {"A": "b"}, tmp_path, True, name="b"),
    )
    plan = TrafficPlan(
        URL,
        headers={"A": "ö", "path": "x"},
        locustfile=tmp_path / "locustfile.py",
        seed=5,
        arrivals="poisson",
        requests=requests,
        tls=Tls(tmp_path / "ca.pem", "shop.example"),
    )
    assert from_json(to_json(plan)) == plan


def test_what_may_be_secret_is_in_no_repr() -> None:
    kind = RequestKind("/a", headers={"X-Key": "hidden-one"}, body=b"hidden-two")
    plan = TrafficPlan(URL, headers={"Authorization": "hidden-three"}, requests=(kind,))
    assert "hidden" not in repr(plan)
