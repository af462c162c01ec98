"""Volumes as folders of this machine, and their contents swapped in one step. Fetches through given doors; mounts nothing.

Secrets, tokens and emptyDirs of medium Memory lie on a file system in memory, claims in folders that outlive the pod; where a
container looks for a volume there is then a link to it.

A ConfigMap, Secret, downwardAPI or projected volume holds `..data`, a link to a folder with the current contents, and one link
per file through it, so that a reader sees either all old or all new files (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from chaoskit.sandbox.node.environment import ConfigError, Fetch, contents, field, resource
from chaoskit.sandbox.node.paths import Mounts

Obj: TypeAlias = dict[str, Any]
Files: TypeAlias = dict[str, tuple[bytes, int]]
"""Relative path -> contents and mode."""
_SYNCED = ("configMap", "secret", "downwardAPI", "projected")
_DEFAULT_MODE = 0o644
_REFUSED = {
    "hostPath": "hostPath is refused: a pod of the sandbox must not reach this machine's files; use an emptyDir or a claim"
}
Token: TypeAlias = Callable[[Obj], Awaitable[bytes | None]]
"""A serviceAccountToken source -> the token, or None when the cluster gives none."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Where the volumes of one pod lie and what fills them. `claims` is for all pods of the namespace."""

    disk: Path
    memory: Path
    claims: Path
    fetch: Fetch
    token: Token


class MountError(Exception):
    """A volume cannot be set up yet: a FailedMount event with this text."""


def follows(pod: Obj) -> bool:
    """Whether a volume of the pod shows what may change while it runs."""
    return any(kind_of(volume) in _SYNCED for volume in pod["spec"].get("volumes") or ())


async def prepare(pod: Obj, supply: Supply) -> None:
    """Create or refresh every volume of the pod. Raises MountError for the first that is not possible."""
    for volume in pod["spec"].get("volumes") or ():
        try:
            await _prepare_one(volume, pod, supply)
        except ConfigError as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error


async def _prepare_one(volume: Obj, pod: Obj, supply: Supply) -> None:
    kind, place = kind_of(volume), supply.disk / volume["name"]
    if kind == "persistentVolumeClaim":
        _link(place, await _claimed(volume[kind]["claimName"], supply))
    elif kind == "emptyDir" or kind in _SYNCED:
        if in_memory(volume):
            _link(place, supply.memory / volume["name"])
        place.mkdir(parents=True, exist_ok=True)
        if kind in _SYNCED:
            swap(place, await _payload(volume, pod, supply))
    else:
        raise ConfigError(_REFUSED.get(kind, f"volumes of type {kind} are not implemented in the sandbox"))


def kind_of(volume: Obj) -> str:
    """The volume's type; without one it is an emptyDir."""
    return next((key for key in volume if key != "name"), "emptyDir")


def in_memory(volume: Obj) -> bool:
    """Whether its files must not reach a disk: secrets, tokens, and what asks for it."""
    sources = (volume.get("projected") or {}).get("sources") or ()
    secret = any("secret" in source or "serviceAccountToken" in source for source in (volume, *sources))
    return secret or (volume.get("emptyDir") or {}).get("medium") == "Memory"


def _link(place: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not place.is_symlink():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)


async def _claimed(name: str, supply: Supply) -> Path:
    """The folder of a claim; a claim that was deleted and made anew has an empty one."""
    claim = await supply.fetch("persistentvolumeclaims", name)
    if claim is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" not found')
    return supply.claims / name / str(claim["metadata"]["uid"])


async def _payload(volume: Obj, pod: Obj, supply: Supply) -> Files:
    if "projected" not in volume:
        kind = kind_of(volume)
        return await _source(kind, volume[kind], pod, supply, volume[kind].get("defaultMode", _DEFAULT_MODE))
    files: Files = {}
    mode = volume["projected"].get("defaultMode", _DEFAULT_MODE)
    for source in volume["projected"].get("sources") or ():
        for kind, body in source.items():
            files |= await _source(kind, body, pod, supply, mode)
    return files


async def _source(kind: str, source: Obj, pod: Obj, supply: Supply, mode: int) -> Files:
    match kind:
        case "configMap":
            return await _keys("configmaps", source["name"], source, supply.fetch, mode)
        case "secret":
            return await _keys("secrets", source.get("secretName") or source["name"], source, supply.fetch, mode)
        case "downwardAPI":
            return {item["path"]: (_fact(item, pod), item.get("mode", mode)) for item in source.get("items") or ()}
        case "serviceAccountToken":
            token = await supply.token(source)
            return {} if token is None else {source["path"]: (token, mode)}
    raise ConfigError(f"projected source {kind} is not implemented in the sandbox")


async def _keys(resource_name: str, name: str, source: Obj, fetch: Fetch, mode: int) -> Files:
    found = await fetch(resource_name, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{resource_name.removesuffix("s")} "{name}" not found')
    data = contents(resource_name, found)
    if not source.get("items"):
        return {key: (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in source["items"]:
        if item["key"] in data:
            files[item["path"]] = (data[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            raise ConfigError(f"references non-existent config key: {item['key']}")
    return files


def _fact(item: Obj, pod: Obj) -> bytes:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"]).encode()
    first = pod["spec"]["containers"][0]
    return resource(pod, first, item["resourceFieldRef"]).encode()


def swap(folder: Path, files: Files) -> None:
    """Make the folder show exactly these files, at once. Unchanged contents leave it untouched."""
    if _shown(folder) == {path: body for path, (body, _) in files.items()} and (folder / "..data").is_symlink():
        return
    old = folder / (folder / "..data").readlink() if (folder / "..data").is_symlink() else None
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for path, (body, mode) in files.items():
        target = _within(fresh, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
        target.chmod(mode)
    link = folder / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(folder / "..data")
    _relink(folder, {path.split("/")[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _shown(folder: Path) -> Mapping[str, bytes]:
    data = (folder / "..data").resolve()
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def _relink(folder: Path, names: set[str]) -> None:
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        with suppress(FileExistsError):
            (folder / name).symlink_to(f"..data/{name}")


def _within(folder: Path, path: str) -> Path:
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"path {path!r} leaves its volume")
    return folder / path


def mount(container: Obj, volumes: Path, root: Path) -> Mounts:
    """Lay the container's mount paths out below `root`, outer paths first. Raises MountError when a path cannot be laid."""
    declared = sorted(container.get("volumeMounts") or (), key=lambda each: len(each["mountPath"]))
    mounts = Mounts(root, tuple(each["mountPath"] for each in reversed(declared)))
    for each in declared:
        place, volume = mounts.inside(each["mountPath"]), volumes / each["name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        if each.get("subPath"):
            _place_part(_within(volume, each["subPath"]), place)
        elif not place.is_symlink():
            place.symlink_to(volume)
    return mounts


def _place_part(source: Path, place: Path) -> None:
    # A copy of a file, as a bind mount of a swapped file is: later contents never reach it.
    if source.is_file():
        shutil.copy2(source, place)
        return
    source.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(source)
