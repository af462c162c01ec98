"""Request bodies: bytes and a content type in, objects out. Raises ApiError for what it cannot read."""

from __future__ import annotations

from typing import Any, Final

import orjson
from aiohttp import web

from chaoskit.sandbox.api import protobuf
from chaoskit.sandbox.errors import bad_request, unsupported_media
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.notices import count_unsupported
from chaoskit.sandbox.patching import MEDIA_TYPES, Style
from chaoskit.sandbox.store import Obj

APPLY_MEDIA: Final = ("application/apply-patch+yaml",)


async def read_object(request: web.BaseRequest, kind: Kind) -> Obj:
    """An object of a kind, as JSON or YAML. Raises ApiError 400 for another kind, 415 for another encoding."""
    obj = await read_any(request)
    if not isinstance(obj, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): expected a mapping")
    found = obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)
    if found != (kind.api_version, kind.kind):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): found {found[1]} in version {found[0]}"
        )
    if not isinstance(obj.get("metadata", {}), dict):
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: metadata must be a mapping'
        )
    return obj


async def read_any(request: web.BaseRequest) -> Any:
    """Whatever the body holds; None for an empty one."""
    raw = await request.read()
    if not raw:
        return None
    media = request.content_type
    if media in ("application/json", "application/octet-stream", "text/plain"):
        return _from_json(raw)
    if media in ("application/yaml", "application/x-yaml"):
        return _from_yaml(raw)
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(raw)
    count_unsupported(f"request bodies as {media}")
    raise unsupported_media(
        f"the body of the request was in an unknown format - accepted media types include: application/json, application/yaml; got {media}"
    )


async def read_config(request: web.BaseRequest, kind: Kind) -> Obj:
    """A configuration to apply, as YAML or JSON. Raises ApiError 400 for another kind or one that names owners."""
    config = _from_yaml(await request.read())
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise bad_request(
            f"the configuration to apply is unrecognized (must be of type {kind.kind}): expected a mapping"
        )
    found = str(config.get("apiVersion", "")), str(config.get("kind", ""))
    if found != (kind.api_version, kind.kind):
        group, _, version = found[0].rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={found[1]}")
    if config.setdefault("metadata", {}).get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    return config


async def read_patch(request: web.BaseRequest) -> tuple[Any, Style]:
    """A patch and its style. Raises ApiError 415 for a media type that is no patch."""
    style = MEDIA_TYPES.get(request.content_type)
    if style is None:
        count_unsupported(f"patches as {request.content_type}")
        accepted = ", ".join([*MEDIA_TYPES, *APPLY_MEDIA])
        raise unsupported_media(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )
    return _from_json(await request.read()), style


def _from_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request body is not JSON: {error}") from error


def _from_yaml(raw: bytes) -> Any:
    import yaml  # most clients send JSON

    class Loader(yaml.SafeLoader):
        """The safe loader, without its habit of turning timestamps into dates."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return orjson.loads(raw) if raw.lstrip().startswith(b"{") else Loader(raw).get_single_data()
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request body is not JSON: {error}") from error
    except yaml.YAMLError as error:
        raise bad_request(f"the request body is not YAML: {error}") from error
