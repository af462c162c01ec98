"""What this machine cannot give the traffic: ports and files. Provoked, told as the generator's fault, and foreseen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaoskit.traffic import ports
from chaoskit.traffic.supervisor import GeneratorError, TrafficPlan, generator

PROVOKED = """
import locust
import ctypes, json, os, resource, socket as plain, struct, sys, fcntl
from collections import Counter
from time import monotonic_ns

def own_network():
    uid, gid = os.getuid(), os.getgid()
    new_user, new_network = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_network) != 0 and libc.unshare(new_user | new_network) != 0:
        print(json.dumps({"skipped": os.strerror(ctypes.get_errno())}))
        sys.exit()
    with plain.socket() as any_socket:  # ip link set lo up
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("40000 40009")

if sys.argv[1] == "ports":
    own_network()

import gevent
from gevent.server import StreamServer
from chaoskit.traffic.inside.client import Client
from chaoskit.traffic.plan import TrafficPlan

def handle(sock, address):
    while sock.recv(65536):
        gevent.sleep(0.5)
        sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")

server = StreamServer(("127.0.0.1", 30000 if sys.argv[1] == "ports" else 0), handle)
server.start()
client = Client(TrafficPlan(f"http://127.0.0.1:{server.server_port}"))
client.resolve()
if sys.argv[1] == "files":
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 15, used + 15))  # each connection here has two ends
workers = [gevent.spawn(client.request, "fresh", monotonic_ns() + 3_000_000_000) for _ in range(30)]
gevent.joinall(workers)
print(json.dumps(Counter(worker.value.error or "ok" for worker in workers)))
"""


def provoked(what: str) -> dict[str, Any]:
    command = [sys.executable, "-P", "-c", PROVOKED, what]
    process = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert process.stdout, process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def test_requests_without_a_port_are_the_generators_fault() -> None:
    found = provoked("ports")
    if "skipped" in found:
        pytest.skip(f"no network namespace of one's own here: {found['skipped']}")
    assert found == {"ok": 10, "generator.no-port": 20}


def test_requests_without_a_file_are_the_generators_fault() -> None:
    found = provoked("files")
    assert found.get("generator.no-file", 0) >= 10
    assert set(found) <= {"ok", "generator.no-file", "timeout.first-byte"}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A machine as Linux comes: 28,232 ports, reuse on loopback only."""
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "tcp_tw_reuse").write_text("2\n")
    return tmp_path


def planned(rate: float, fresh: float = 1.0, lasts_s: float | None = None) -> TrafficPlan:
    return TrafficPlan("http://shop", rate_per_s=rate, policies={"fresh": fresh, "reuse": 1 - fresh}, lasts_s=lasts_s)


def test_a_rate_that_the_ports_bear_for_ever_is_nobodys_concern(settings: Path) -> None:
    for plan in (planned(470), planned(940, fresh=0.5), planned(5000, fresh=0.0)):
        assert ports.refusal(plan, ["10.0.0.1"], settings) is None
        assert ports.caution(plan, ["10.0.0.1"], settings) is None


def test_a_rate_beyond_is_refused_with_the_figures(settings: Path) -> None:
    why = ports.refusal(planned(500), ["10.0.0.1"], settings)
    assert why is not None
    assert "500 new connections/s to 10.0.0.1" in why
    assert "28232, each at rest for 60 s after use, are enough for 471/s and run out after 56.5 s" in why
    assert ports.caution(planned(500), ["10.0.0.1"], settings) is None


def test_a_run_that_ends_before_the_ports_do_is_warned_only(settings: Path) -> None:
    assert ports.refusal(planned(500, lasts_s=40.0), ["10.0.0.1"], settings) is None
    assert "keep the run shorter" in (ports.caution(planned(500, lasts_s=40.0), ["10.0.0.1"], settings) or "")
    assert ports.refusal(planned(500, lasts_s=57.0), ["10.0.0.1"], settings) is not None


def test_more_addresses_have_more_ports_and_loopback_uses_them_again(settings: Path) -> None:
    assert ports.refusal(planned(900), ["10.0.0.1", "10.0.0.2"], settings) is None
    assert ports.refusal(planned(900), ["127.0.0.1"], settings) is None
    (settings / "tcp_tw_reuse").write_text("0\n")
    assert ports.refusal(planned(900), ["127.0.0.1"], settings) is not None
    (settings / "tcp_tw_reuse").write_text("1\n")
    assert ports.refusal(planned(900), ["10.0.0.1"], settings) is None


def test_a_generator_refuses_before_it_sends(tmp_path: Path) -> None:
    async def scenario() -> None:
        # An address for documentation (RFC 5737): nothing is sent there.
        async with generator(TrafficPlan("http://192.0.2.1", rate_per_s=50_000.0, policies={"fresh": 1.0}), tmp_path):
            pass

    with pytest.raises(GeneratorError, match=r"50000 new connections/s to 192\.0\.2\.1 need more ports"):
        asyncio.run(scenario())
