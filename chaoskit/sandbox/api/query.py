"""Query parameters, parsed at the door. Text in, values out; raises ApiError for what does not parse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import durationpy

from chaoskit.sandbox.errors import ApiError, bad_request, failure

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or a watch asks for. `revision` is None when unset; 0 means any."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continued: str = ""
    revision: int | None = None
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial_events: bool = False
    timeout_s: float | None = None


def list_options(query: Query) -> ListOptions:
    """Raises ApiError 400 or 500 (a revision that is no number, as recorded)."""
    return ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=whole(query, "limit") or 0,
        continued=query.get("continue", ""),
        revision=_revision(query),
        match=query.get("resourceVersionMatch", ""),
        watch=flag(query, "watch"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=flag(query, "sendInitialEvents"),
        timeout_s=whole(query, "timeoutSeconds"),
    )


def _revision(query: Query) -> int | None:
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isdigit():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ApiError(failure(500, "", f'resourceVersion: Invalid value: "{text}": {why}'))
    return int(text)


def whole(query: Query, name: str) -> int | None:
    """A whole number. Raises ApiError 400."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})') from error


def flag(query: Query, name: str) -> bool:
    """A switch; given without a value it is on."""
    return name in query and query[name].lower() not in ("false", "0")


def dry_run(query: Query, options: str, given: object = None) -> bool:
    """Whether nothing is to be stored. Raises ApiError 422 for anything but `All`."""
    values = [value for value in (query.get("dryRun"), *(given if isinstance(given, list) else ())) if value]
    wrong = [value for value in values if value != "All"]
    if wrong:
        message = f'dryRun: Unsupported value: ["{wrong[0]}"]: supported values: "All"'
        raise ApiError(failure(422, "Invalid", f'{options}.meta.k8s.io "" is invalid: {message}', {"kind": options}))
    return bool(values)


def check_timeout(query: Query) -> None:
    """`timeout=3s` is accepted; nothing here takes as long. Raises ApiError 400 when it is no duration."""
    text = query.get("timeout", "")
    if not text:
        return
    try:
        durationpy.from_str(text)
    except Exception as error:
        raise bad_request(
            f"invalid timeout specified in the request URL - {text}: expected a duration such as 3s"
        ) from error
