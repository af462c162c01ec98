"""Volumes as folders of this machine, and their contents swapped in one step. Fetches through a given door; mounts nothing.

A ConfigMap, Secret, downwardAPI or projected volume holds `..data`, a link to a folder with the current contents, and one link
per file through it, so that a reader sees either all old or all new files (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from chaoskit.sandbox.node.environment import ConfigError, Fetch, contents, field, resource
from chaoskit.sandbox.node.paths import Mounts

Obj: TypeAlias = dict[str, Any]
Files: TypeAlias = dict[str, tuple[bytes, int]]
"""Relative path -> contents and mode."""
_SYNCED = ("configMap", "secret", "downwardAPI", "projected")
_DEFAULT_MODE = 0o644


class MountError(Exception):
    """A volume cannot be set up yet: a FailedMount event with this text."""


def references(pod: Obj) -> frozenset[tuple[str, str]]:
    """(resource, name) of the ConfigMaps and Secrets behind the pod's volumes."""
    found = set()
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume, *(volume.get("projected", {}).get("sources") or ())):
            if "configMap" in source:
                found.add(("configmaps", source["configMap"]["name"]))
            if "secret" in source:
                found.add(("secrets", source["secret"].get("secretName") or source["secret"]["name"]))
    return frozenset(found)


async def prepare(pod: Obj, folder: Path, fetch: Fetch) -> None:
    """Create or refresh every volume of the pod below `folder`. Raises MountError for the first that is not possible."""
    for volume in pod["spec"].get("volumes") or ():
        name, place = volume["name"], folder / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        kind = next((key for key in volume if key != "name"), "emptyDir")
        try:
            if kind in _SYNCED:
                swap(place, await _payload(volume, pod, fetch))
            elif kind != "emptyDir":
                raise ConfigError(f"volumes of type {kind} are not implemented in the sandbox")
        except ConfigError as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error


async def _payload(volume: Obj, pod: Obj, fetch: Fetch) -> Files:
    if "projected" not in volume:
        kind = next(key for key in _SYNCED if key in volume)
        return await _source(kind, volume[kind], pod, fetch, volume[kind].get("defaultMode", _DEFAULT_MODE))
    files: Files = {}
    mode = volume["projected"].get("defaultMode", _DEFAULT_MODE)
    for source in volume["projected"].get("sources") or ():
        for kind, body in source.items():
            files |= await _source(kind, body, pod, fetch, mode)
    return files


async def _source(kind: str, source: Obj, pod: Obj, fetch: Fetch, mode: int) -> Files:
    match kind:
        case "configMap":
            return await _keys("configmaps", source["name"], source, fetch, mode)
        case "secret":
            return await _keys("secrets", source.get("secretName") or source["name"], source, fetch, mode)
        case "downwardAPI":
            return {item["path"]: (_fact(item, pod), item.get("mode", mode)) for item in source.get("items") or ()}
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
