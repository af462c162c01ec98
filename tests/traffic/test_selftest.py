"""The self-test: a client that tells of every drop passes, one that hides some does not."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Callable

import pytest

from chaoskit.traffic.selftest import SCRIPT, Attempt, probe

DROPS = sum(what != "ok" for what in SCRIPT)


def keeping(tries: int) -> Callable[[str], Attempt]:
    """A client on one kept connection that sends a request up to so many times."""

    def make(url: str) -> Attempt:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)

        def attempt() -> bool:
            for _ in range(tries):
                try:
                    connection.request("GET", "/")
                    connection.getresponse().read()
                    return True
                except (OSError, http.client.HTTPException):
                    connection.close()
            return False

        return attempt

    return make


def test_a_client_that_tells_of_every_drop_passes() -> None:
    report = probe("plain", keeping(tries=1))
    assert report.honest, str(report)
    assert (report.attempted, report.received, report.dropped, report.told) == (len(SCRIPT), len(SCRIPT), DROPS, DROPS)


@pytest.mark.parametrize("tries", [2, 5])
def test_a_client_that_sends_again_in_silence_does_not(tries: int) -> None:
    report = probe("hiding", keeping(tries))
    assert not report.honest, str(report)
    assert report.told < report.dropped or report.received > report.attempted


def test_a_client_that_calls_a_drop_an_answer_does_not() -> None:
    def make(url: str) -> Attempt:
        attempt = keeping(tries=1)(url)
        return lambda: attempt() or True

    assert not probe("deaf", make).honest


def test_the_script_has_at_least_ten_drops_of_both_kinds_on_kept_and_on_new_connections() -> None:
    pairs = list(itertools.pairwise(SCRIPT))
    assert DROPS >= 10
    for drop in ("fin", "rst"):
        assert ("ok", drop) in pairs  # a kept connection
        assert (drop, drop) in pairs  # a new one
