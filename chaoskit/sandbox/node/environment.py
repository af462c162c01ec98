"""The environment of a container: literal values, references, services. Asks for the objects it is given a door to; starts nothing.

Rules: kubernetes.io "Define Environment Variables for a Container", "Dependent Environment Variables" and
third_party/forked/golang/expansion: `$(NAME)` of a variable defined earlier, `$$` for a literal dollar sign.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from chaoskit.sandbox.quantity import parse_quantity

Obj: TypeAlias = dict[str, Any]
Fetch: TypeAlias = Callable[[str, str], Awaitable[Obj | None]]
"""("configmaps" | "secrets", name) -> the object in the pod's namespace, or None."""
_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


class ConfigError(Exception):
    """The container cannot be configured yet: CreateContainerConfigError, with this text."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where NAME is known, left alone where it is not; `$$(NAME)` yields `$(NAME)`."""

    def one(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        return env.get(found["name"], found[0])

    return _REFERENCE.sub(one, text)


async def variables(container: Obj, pod: Obj, services: Mapping[str, str], fetch: Fetch) -> dict[str, str]:
    """All variables the manifest asks for. Raises ConfigError when an object or a key that is not optional is missing."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        env |= await _import(source, fetch)
    for item in container.get("env") or ():
        value = await _value(item, container, pod, {**services, **env}, fetch)
        if value is not None:
            env[item["name"]] = value
    return {**services, **env}


async def _import(source: Obj, fetch: Fetch) -> dict[str, str]:
    kind, ref = ("configmaps", source["configMapRef"]) if "configMapRef" in source else ("secrets", source["secretRef"])
    found = await fetch(kind, ref["name"])
    if found is None:
        if ref.get("optional"):
            return {}
        raise ConfigError(_absent(kind, ref["name"]))
    prefix = source.get("prefix", "")
    return {prefix + key: value.decode(errors="replace") for key, value in contents(kind, found).items()}


async def _value(item: Obj, container: Obj, pod: Obj, known: Mapping[str, str], fetch: Fetch) -> str | None:
    match item.get("valueFrom") or None:
        case None:
            return expand(item.get("value") or "", known)
        case {"fieldRef": ref}:
            return field(pod, ref["fieldPath"])
        case {"resourceFieldRef": ref}:
            return resource(pod, container, ref)
        case {"configMapKeyRef": ref}:
            return await _key("configmaps", ref, fetch)
        case {"secretKeyRef": ref}:
            return await _key("secrets", ref, fetch)
        case other:
            raise ConfigError(f"env {item['name']}: valueFrom {', '.join(other)} is not implemented in the sandbox")


async def _key(kind: str, ref: Obj, fetch: Fetch) -> str | None:
    found = await fetch(kind, ref["name"])
    if found is None:
        if ref.get("optional"):
            return None
        raise ConfigError(_absent(kind, ref["name"]))
    data = contents(kind, found)
    if ref["key"] not in data:
        if ref.get("optional"):
            return None
        word = "ConfigMap" if kind == "configmaps" else "Secret"
        raise ConfigError(f"couldn't find key {ref['key']} in {word} {found['metadata']['namespace']}/{ref['name']}")
    return data[ref["key"]].decode(errors="replace")


def _absent(kind: str, name: str) -> str:
    return f'{kind.removesuffix("s")} "{name}" not found'


def contents(kind: str, obj: Obj) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, decoded."""
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    texts = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return texts | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def field(pod: Obj, path: str) -> str:
    """A field of the downward API. Raises ConfigError for a path it does not offer."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return "\n".join(f'{key}="{value}"' for key, value in sorted((metadata.get(path[9:]) or {}).items()))
    match path.split("."):
        case ["metadata", ("name" | "namespace" | "uid") as key]:
            return str(metadata[key])
        case ["spec", ("nodeName" | "serviceAccountName") as key]:
            return str(spec.get(key, ""))
        case ["status", ("podIP" | "hostIP") as key]:
            return str(status.get(key, ""))
        case ["status", ("podIPs" | "hostIPs") as key]:
            return str(status.get(key.removesuffix("s"), ""))
    raise ConfigError(f"fieldPath {path!r} is not supported")


def resource(pod: Obj, container: Obj, ref: Obj) -> str:
    """A request or limit of a container, divided and rounded up; without a limit, what a 4 CPU, 8 GiB node could give."""
    if "containerName" in ref:
        container = next(
            (each for each in pod["spec"]["containers"] if each["name"] == ref["containerName"]), container
        )
    level, _, name = ref["resource"].partition(".")
    amounts = (container.get("resources") or {}).get(level) or {}
    fallback = {"limits.cpu": "4", "limits.memory": "8Gi"}.get(ref["resource"], "0")
    unit = parse_quantity(ref.get("divisor") or "1")
    return str(math.ceil(parse_quantity(amounts.get(name, fallback)) / (unit or 1)))


def service_variables(services: Iterable[Obj], links: bool, server: str) -> dict[str, str]:
    """The API server's address and, unless enableServiceLinks is off, those of the namespace's Services (pkg/kubelet/envvars)."""
    host, port = urlsplit(server).hostname or "127.0.0.1", urlsplit(server).port or 443
    env = _service("kubernetes", host, [{"name": "https", "port": port, "protocol": "TCP"}])
    for each in services if links else ():
        spec, name = each["spec"], each["metadata"]["name"]
        if spec.get("clusterIP") not in (None, "", "None") and name != "kubernetes" and spec.get("ports"):
            env |= _service(name, spec["clusterIP"], spec["ports"])
    return env


def _service(name: str, host: str, ports: list[Obj]) -> dict[str, str]:
    prefix, first = _variable(name), ports[0]
    env = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(first["port"])}
    env[f"{prefix}_PORT"] = f"{first.get('protocol', 'TCP').lower()}://{host}:{first['port']}"
    for port in ports:
        protocol = port.get("protocol", "TCP")
        stem = f"{prefix}_PORT_{port['port']}_{protocol}"
        if port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{_variable(port['name'])}"] = str(port["port"])
        env[stem] = f"{protocol.lower()}://{host}:{port['port']}"
        env |= {f"{stem}_PROTO": protocol.lower(), f"{stem}_PORT": str(port["port"]), f"{stem}_ADDR": host}
    return env


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
