"""A name's addresses are looked up again when their time to live is over. Inside the traffic process, with a resolver of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys

MOVING = """
import locust
import json, sys
from time import monotonic_ns
import gevent
from gevent import socket
from gevent.server import StreamServer
from chaoskit.traffic.inside.client import Client
from chaoskit.traffic.plan import TrafficPlan

every_s, moves = float(sys.argv[1]), sys.argv[2] == "moves"

def serve(host):
    def handle(sock, address):
        while sock.recv(65536):
            sock.sendall(b"HTTP/1.1 200 OK\\r\\nX-Pod: %s\\r\\nContent-Length: 0\\r\\n\\r\\n" % host.encode())
    return handle

first = StreamServer(("127.0.0.1", 0), serve("first"))
first.start()
second = StreamServer(("127.0.0.2", first.server_port), serve("second"))
second.start()
lookups = []

def getaddrinfo(host, port, *args, **kwargs):
    lookups.append(host)
    gevent.sleep(0.02)  # a resolver takes its time
    if not moves and len(lookups) > 1:
        raise socket.gaierror(-2, "gone")
    where = "127.0.0.1" if len(lookups) == 1 else "127.0.0.2"
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, port))]

socket.getaddrinfo = getaddrinfo
host = "127.0.0.1" if sys.argv[2] == "literal" else "shop.example"
client = Client(TrafficPlan(f"http://{host}:{first.server_port}", resolve_every_s=every_s))
client.resolve()
began, found = monotonic_ns(), []
while monotonic_ns() < began + 600_000_000:
    start = monotonic_ns()
    answer = client.request("fresh", start + 1_000_000_000)
    found.append(answer.pod or answer.error)
    gevent.sleep(0.005)
print(json.dumps({"found": found, "lookups": len(lookups), "seen": client.addresses}))
"""


def told(every_s: float, how: str) -> dict[str, object]:
    command = [sys.executable, "-P", "-c", MOVING, str(every_s), how]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    found: dict[str, object] = json.loads(printed)
    return found


def test_a_name_that_moves_is_followed_within_its_time_to_live() -> None:
    report = told(0.2, "moves")
    found = report["found"]
    assert isinstance(found, list)
    assert list(dict.fromkeys(found)) == ["first", "second"]
    assert 0.2 < found.index("second") / len(found) < 0.7  # after 0.2 s and a look-up, of 0.6 s
    assert report["lookups"] in (3, 4)
    assert report["seen"] == ["127.0.0.1", "127.0.0.2"]


def test_within_its_time_to_live_it_is_not_looked_up_again() -> None:
    report = told(10.0, "moves")
    assert (report["lookups"], report["seen"]) == (1, ["127.0.0.1"])


def test_a_name_that_is_gone_is_the_generators_trouble() -> None:
    found = told(0.2, "goes")["found"]
    assert isinstance(found, list)
    assert list(dict.fromkeys(found)) == ["first", "generator.no-address"]


def test_an_address_is_never_looked_up_again() -> None:
    assert told(0.05, "literal")["lookups"] == 1
