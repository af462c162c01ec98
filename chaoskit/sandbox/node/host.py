"""What the pods of one node share, and where one pod lives. Passed around; decides nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from chaoskit.sandbox.client import Client
from chaoskit.sandbox.node.addresses import Addresses
from chaoskit.sandbox.node.environment import service_variables
from chaoskit.sandbox.node.events import Recorder
from chaoskit.sandbox.node.logs import LogWatch
from chaoskit.sandbox.node.objects import ConfigObjects
from chaoskit.sandbox.node.processes import Reaper
from chaoskit.sandbox.node.tokens import NoTokens, Tokens
from chaoskit.sandbox.node.volumes import Supply, kind_of
from chaoskit.sandbox.settings import MARK, NODE_MARK, ClusterSettings

Obj: TypeAlias = dict[str, Any]
POD_MARK = "CHAOSKIT_POD_UID"
CONTAINER_MARK = "CHAOSKIT_CONTAINER_ID"


@dataclass(frozen=True, slots=True)
class Host:
    """One node: its settings, its doors to the API and to the machine, its folder."""

    settings: ClusterSettings
    name: str
    index: int
    client: Client
    recorder: Recorder
    objects: ConfigObjects
    reaper: Reaper
    logs: LogWatch
    addresses: Addresses
    folder: Path
    memory: Path
    """For files that must not reach a disk."""

    @property
    def address(self) -> str:
        return self.settings.node_address(self.index)

    @property
    def interpreters(self) -> Path:
        """The folder with `python` and `python3` for PATH."""
        return self.folder / "bin"

    @property
    def marks(self) -> dict[str, str]:
        """What every process of this node carries in its environment."""
        return {MARK: self.settings.id, NODE_MARK: self.name}


class Place:
    """Where one pod lives: its latest object, its address, its folder. The address is taken at once and held until `leave`."""

    def __init__(self, host: Host, pod: Obj) -> None:
        self.host = host
        self.pod = pod
        self.ip = host.addresses.take(unlike=(pod.get("status") or {}).get("podIP", ""))
        self.folder: Path = host.folder / "pods" / pod["metadata"]["uid"]
        self.memory: Path = host.memory / "pods" / pod["metadata"]["uid"]
        self.terminating = False
        self._warned = False
        self._tokens = Tokens(host.client)

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def path(self) -> str:
        """The pod's URL path at the API server."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def volumes(self) -> Path:
        return self.folder / "volumes"

    @property
    def grace_s(self) -> float:
        """The pod's own terminationGracePeriodSeconds."""
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    @property
    def marks(self) -> dict[str, str]:
        """What every process of this pod carries in its environment."""
        return {**self.host.marks, POD_MARK: self.uid}

    def facts(self) -> Obj:
        """The pod with the addresses it has here, for the downward API."""
        status = {**(self.pod.get("status") or {}), "podIP": self.ip, "hostIP": self.host.address}
        return {**self.pod, "status": status}

    async def fetch(self, resource: str, name: str) -> Obj | None:
        """A ConfigMap, Secret or claim of the pod's namespace."""
        return await self.host.objects.find(resource, self.namespace, name)

    async def token(self, source: Obj) -> bytes | None:
        """A token of the pod's service account; None, with a warning, where the cluster gives none. Raises ApiFailure."""
        try:
            return await self._tokens.get(self.pod, source)
        except NoTokens as refusal:
            self.event("Warning", "ServiceAccountTokenSkipped", str(refusal))
            return None

    @property
    def supply(self) -> Supply:
        """What the pod's volumes are made of."""
        claims = self.host.settings.state_dir / "claims" / self.namespace
        return Supply(self.volumes, self.memory, claims, self.fetch, self.token)

    async def services(self) -> dict[str, str]:
        """The service environment variables as of now."""
        links = self.pod["spec"].get("enableServiceLinks", True)
        listing = (
            await self.host.client.get(f"/api/v1/namespaces/{self.namespace}/services") if links else {"items": []}
        )
        return service_variables(listing["items"], links, self.host.settings.server)

    def base_env(self, root: Path) -> dict[str, str]:
        """What an image would set, and the folder that stands for the container's root."""
        path = os.pathsep.join((str(self.host.interpreters), os.environ.get("PATH", os.defpath)))
        return {
            "PATH": path,
            "HOSTNAME": str(self.pod["spec"].get("hostname") or self.name),
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "LANG": "C.UTF-8",
            "CHAOSKIT_ROOT": str(root),
        }

    def event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about the pod or one of its containers (`container` is a field path)."""
        self.host.recorder.pod(self.pod, kind, reason, message, container)

    def warn_of_rewriting(self) -> None:
        """Tell, once per pod, that mount paths lie elsewhere on this machine."""
        if not self._warned:
            self._warned = True
            message = (
                "mount paths in command, args and env are led to $CHAOSKIT_ROOT + mountPath: the sandbox mounts nothing"
            )
            self.event("Warning", "MountPathRewritten", message)

    def clear(self) -> None:
        """Remove what a pod of this uid left here before the power went, except what was on its disks: its emptyDirs."""
        disks = {each["name"] for each in self.pod["spec"].get("volumes") or () if kind_of(each) == "emptyDir"}
        kept = [self.volumes / name for name in disks if not (self.volumes / name).is_symlink()]
        self.volumes.mkdir(parents=True, mode=0o700, exist_ok=True)
        for entry in (*self.folder.iterdir(), *self.volumes.iterdir()):
            if entry != self.volumes and entry not in kept:
                _remove(entry)
        _remove(self.memory)

    def leave(self) -> None:
        """Give the address back and remove the folders."""
        # Not in a thread: this process forks, and must do so with one thread only.
        self.host.addresses.release(self.ip)
        _remove(self.folder)
        _remove(self.memory)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def instance_marks(place: Place, instance: str) -> Mapping[str, str]:
    """What every process of one container instance carries in its environment."""
    return {**place.marks, CONTAINER_MARK: instance}
