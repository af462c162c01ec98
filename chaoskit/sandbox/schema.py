"""Which fields an object may have, and of which form. Names what is unknown, unhonoured or misshapen; sets no defaults.

The table restates the fields of k8s.io/api for the served kinds. `UNHONOURED` marks what a real cluster would act on
and this one does not: it is kept, with a warning, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from chaoskit.sandbox.errors import ApiError, bad_request, failure
from chaoskit.sandbox.fields import (
    ANY,
    BOOL,
    INT,
    KINDS_FIELDS,
    PORT,
    QUANTITIES,
    QUANTITY,
    STRING,
    STRINGS,
    UNHONOURED,
)
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.notices import count_unsupported, warn
from chaoskit.sandbox.store import Obj

_FORMS: Final[dict[object, tuple[tuple[type, ...], str]]] = {
    STRING: ((str,), "string"),
    INT: ((int,), "int32"),
    BOOL: ((bool,), "bool"),
    PORT: ((int, str), "intstr.IntOrString"),
    QUANTITY: ((int, float, str), "resource.Quantity"),
    STRINGS: ((dict,), "map[string]string"),
    QUANTITIES: ((dict,), "map[string]resource.Quantity"),
}


def check_fields(obj: Obj, kind: Kind, validation: str) -> None:
    """Drop unknown fields from a private copy, as a typed server does, and speak of them as `validation` says.

    `validation` is Strict, Warn (the default) or Ignore. Raises ApiError 400 for a field of the wrong form and, when
    Strict, for unknown ones.
    """
    if validation not in ("", "Strict", "Warn", "Ignore"):
        raise bad_request(f'invalid fieldValidation "{validation}": expected Strict, Warn or Ignore')
    unknown = list(_walk(obj, KINDS_FIELDS[kind.plural], "", kind))
    if unknown and validation == "Strict":
        said = ", ".join(f'unknown field "{path}"' for path in unknown)
        head = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
        raise ApiError(failure(400, "BadRequest", f"{head}: strict decoding error: {said}"))
    for path in unknown if validation != "Ignore" else ():
        warn(f'unknown field "{path}"')


def undeclared_fields(obj: Obj, kind: Kind) -> list[str]:
    """Paths of the fields that a kind does not have; they are removed. Raises ApiError 400 for one of the wrong form."""
    return list(_walk(obj, KINDS_FIELDS[kind.plural], "", kind))


def _walk(value: Any, form: Any, path: str, kind: Kind) -> Iterator[str]:
    """Paths of unknown fields below a value; they are removed."""
    if value is None or form is ANY:
        return
    if form is UNHONOURED:
        _speak_of(path, kind)
    elif isinstance(form, dict):
        yield from _walk_mapping(value, form, path, kind)
    elif isinstance(form, list):
        yield from _walk_list(value, form[0], path, kind)
    else:
        _check_form(value, form, path, kind)


def _walk_mapping(value: Any, form: dict[str, Any], path: str, kind: Kind) -> Iterator[str]:
    if not isinstance(value, dict):
        raise _misshapen(value, path, "object", kind)
    for key in list(value):
        below = f"{path}.{key}" if path else key
        if key in form:
            yield from _walk(value[key], form[key], below, kind)
        else:
            del value[key]
            yield below


def _walk_list(value: Any, form: Any, path: str, kind: Kind) -> Iterator[str]:
    if not isinstance(value, list):
        raise _misshapen(value, path, "list", kind)
    for index, item in enumerate(value):
        yield from _walk(item, form, f"{path}[{index}]", kind)


def _check_form(value: Any, form: Any, path: str, kind: Kind) -> None:
    types, name = _FORMS[form]
    if not isinstance(value, types) or (isinstance(value, bool) and form is not BOOL):
        raise _misshapen(value, path, name, kind)
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is not None:
                _check_form(inner, STRING if form is STRINGS else QUANTITY, f"{path}.{key}", kind)


def _misshapen(value: Any, path: str, wanted: str, kind: Kind) -> ApiError:
    found = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}.get(type(value), "object")
    why = f"json: cannot unmarshal {found} into Go struct field {kind.kind}.{path} of type {wanted}"
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def _speak_of(path: str, kind: Kind) -> None:
    count_unsupported(f"{kind.kind} field {_without_indexes(path)}")
    warn(f"{path}: the chaoskit sandbox accepts this field and does not act on it")


def _without_indexes(path: str) -> str:
    return "".join(part.partition("]")[2] if number else part for number, part in enumerate(path.split("[")))
