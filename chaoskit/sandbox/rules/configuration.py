"""ConfigMaps, Secrets, service accounts and events: defaults and validation. Works on private copies.

Source: k8s.io/kubernetes pkg/registry/core/{configmap,secret}/strategy.go and pkg/apis/core/validation, restated.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, field_forbidden, required
from chaoskit.sandbox.rules.rule import Admission, Rule
from chaoskit.sandbox.store import Obj

_KEY: Final = re.compile(r"^[-._a-zA-Z0-9]+$")
_MAX_BYTES: Final = 1024 * 1024
_KEY_RULE: Final = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


def _validate_keys(data: Any, where: str) -> list[Cause]:
    if not isinstance(data, dict):
        return [bad_value(where, data, "must be a map of strings")]
    causes = [bad_value(f"{where}[{key}]", key, _KEY_RULE) for key in data if not _KEY.match(key) or len(key) > 253]
    return causes + [
        bad_value(f"{where}[{key}]", value, "must be a string")
        for key, value in data.items()
        if not isinstance(value, str)
    ]


def _validate_size(*maps: Any) -> list[Cause]:
    size = sum(len(str(value).encode()) for data in maps for value in (data or {}).values())
    return (
        []
        if size <= _MAX_BYTES
        else [Cause("", "FieldValueTooLong", f"Too long: may not be more than {_MAX_BYTES} bytes")]
    )


def _validate_config_map(obj: Obj) -> list[Cause]:
    data, binary = obj.get("data", {}), obj.get("binaryData", {})
    causes = _validate_keys(data, "data") + _validate_keys(binary, "binaryData")
    return causes or _validate_size(data, binary)


def _prepare_secret(obj: Obj, admission: Admission) -> None:
    """`stringData` is for writing only: it is folded into `data`."""
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        obj["data"] = obj.get("data", {}) | encoded


def _update_secret(new: Obj, old: Obj, admission: Admission) -> None:
    _prepare_secret(new, admission)


def _validate_secret(obj: Obj) -> list[Cause]:
    data = obj.get("data", {})
    causes = _validate_keys(data, "data")
    if causes:
        return causes
    causes = [
        bad_value(f"data[{key}]", "<secret contents redacted>", "must be base64")
        for key, value in data.items()
        if not _is_base64(value)
    ]
    return causes or _validate_size(data)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _immutable(new: Obj, old: Obj) -> list[Cause]:
    if not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    keys = [key for key in ("data", "binaryData", "immutable") if new.get(key) != old.get(key)]
    return [field_forbidden(key, why) for key in keys]


def _secret_update(new: Obj, old: Obj) -> list[Cause]:
    causes = _immutable(new, old)
    if new.get("type") != old.get("type"):
        causes.append(bad_value("type", new.get("type"), "field is immutable"))
    return causes


def _validate_event(obj: Obj) -> list[Cause]:
    involved = obj.get("involvedObject")
    if not isinstance(involved, dict):
        return [required("involvedObject")]
    namespace = involved.get("namespace") or "default"
    if namespace != obj["metadata"]["namespace"]:
        return [bad_value("involvedObject.namespace", involved.get("namespace", ""), "does not match event.namespace")]
    return []


CONFIG_MAP: Final = Rule(validate=_validate_config_map, validate_update=_immutable)
SECRET: Final = Rule(
    prepare_create=_prepare_secret,
    prepare_update=_update_secret,
    validate=_validate_secret,
    validate_update=_secret_update,
)
SERVICE_ACCOUNT: Final = Rule()
EVENT: Final = Rule(validate=_validate_event)
