"""What every process of one sandbox knows: addresses, credentials, timings. Data only; opens nothing, starts nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

SLOTS: Final = range(64, 128)
"""Second octets of 127.x.0.0/16 that sandboxes may claim."""
MAX_NODES: Final = 120
"""Nodes that one sandbox may number over its life."""
SERVICE_ADDRESSES: Final = 64 * 254
NODE_PORTS: Final = range(30000, 32768)
MARK: Final = "CHAOSKIT_SANDBOX"
"""Environment variable whose value is the cluster's id; every process of a sandbox carries it."""
NODE_MARK: Final = "CHAOSKIT_NODE"
"""Environment variable whose value is the node's name; every process of a pod carries it."""
CONTEXT: Final = "chaoskit-sandbox"
"""Name of the cluster, the user and the context in a kubeconfig of ours."""


@dataclass(frozen=True, slots=True)
class Timings:
    """The cluster's own pace, by upstream flag names. What a manifest says (probe periods, grace) is never scaled.

    `simulated_*` are the times a simulated pod takes to start, to become ready after that (0: in the same write), and to end.
    """

    node_monitor_grace_period_s: float = 50.0
    node_monitor_period_s: float = 5.0
    node_status_update_frequency_s: float = 10.0
    default_not_ready_toleration_s: int = 300
    default_unreachable_toleration_s: int = 300
    crash_loop_initial_s: float = 10.0
    max_container_restart_period_s: float = 300.0
    image_pull_backoff_initial_s: float = 10.0
    image_pull_backoff_max_s: float = 300.0
    config_map_sync_s: float = 60.0
    endpoint_propagation_s: float = 1.0
    pod_initial_backoff_s: float = 1.0
    pod_max_backoff_s: float = 10.0
    job_pod_failure_backoff_s: float = 10.0
    max_job_pod_failure_backoff_s: float = 600.0
    job_sync_batch_s: float = 1.0
    pod_gc_period_s: float = 20.0
    pod_gc_quarantine_s: float = 40.0
    event_ttl_s: float = 3600.0
    bookmark_period_s: float = 60.0
    simulated_start_s: float = 0.05
    simulated_ready_s: float = 0.0
    simulated_stop_s: float = 0.05


def realistic() -> Timings:
    """Upstream defaults of Kubernetes 1.36."""
    return Timings()


def fast() -> Timings:
    """Everything the cluster decides for itself, an order of magnitude sooner."""
    return Timings(
        node_monitor_grace_period_s=4.0,
        node_monitor_period_s=0.5,
        node_status_update_frequency_s=1.0,
        default_not_ready_toleration_s=5,
        default_unreachable_toleration_s=5,
        crash_loop_initial_s=1.0,
        max_container_restart_period_s=10.0,
        image_pull_backoff_initial_s=1.0,
        image_pull_backoff_max_s=10.0,
        config_map_sync_s=1.0,
        endpoint_propagation_s=0.05,
        pod_initial_backoff_s=0.1,
        pod_max_backoff_s=1.0,
        job_pod_failure_backoff_s=1.0,
        max_job_pod_failure_backoff_s=60.0,
        job_sync_batch_s=0.1,
        pod_gc_period_s=0.5,
        pod_gc_quarantine_s=1.0,
    )


PROFILES: Final = {"fast": fast, "realistic": realistic}


def first_service_address(slot: int) -> str:
    """The ClusterIP of the Service `kubernetes`."""
    return f"127.{slot}.128.1"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """One sandbox. `id` is random and also the mark that its processes carry in their environment."""

    id: str
    slot: int
    server: str
    token: str
    ca_file: Path
    state_dir: Path
    timings: Timings
    profile: str
    nodes: tuple[str, ...]
    simulated_pods: bool = False
    """Whether pods run no process: their statuses are written as if they did."""

    def node_address(self, index: int) -> str:
        """InternalIP of node `index`, counted from 1."""
        assert 1 <= index <= MAX_NODES
        return f"127.{self.slot}.0.{index}"

    def pod_address(self, index: int, number: int) -> str:
        """Address `number` (2..254) of a pod on node `index`."""
        assert 1 <= index <= MAX_NODES and 2 <= number <= 254
        return f"127.{self.slot}.{index}.{number}"

    def service_address(self, number: int) -> str:
        """ClusterIP `number`, 1..SERVICE_ADDRESSES."""
        assert 1 <= number <= SERVICE_ADDRESSES
        third, fourth = divmod(number - 1, 254)
        return f"127.{self.slot}.{128 + third}.{fourth + 1}"

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self) | {"ca_file": str(self.ca_file), "state_dir": str(self.state_dir)})

    @classmethod
    def from_json(cls, text: bytes) -> ClusterSettings:
        raw: dict[str, Any] = orjson.loads(text)
        raw |= {"ca_file": Path(raw["ca_file"]), "state_dir": Path(raw["state_dir"])}
        raw |= {"timings": Timings(**raw["timings"]), "nodes": tuple(raw["nodes"])}
        return cls(**raw)
