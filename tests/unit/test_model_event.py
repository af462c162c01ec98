"""The journal's lines: what is written is read back, and damage is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model.event import Event, decode, decode_all, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 2**40), st.integers(0, 2**62), st.text(min_size=1), st.dictionaries(st.text(), JSON, max_size=4))
def test_an_event_survives_its_line(seq: int, t_ns: int, kind: str, data: dict[str, object]) -> None:
    line = encode(Event(seq, t_ns, kind, data))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == Event(seq, t_ns, kind, data)


LINES = [encode(Event(seq, seq, "phase", {"name": "hold"})) for seq in range(3)]


def test_a_torn_last_line_is_left_out_in_silence() -> None:
    assert [event.seq for event in decode_all([*LINES[:2], LINES[2][:-9]])] == [0, 1]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="journal line 2: not a whole journal line"):
        list(decode_all([LINES[0], LINES[1][:-9], LINES[2]]))
    with pytest.raises(ValueError, match="journal line 2: the journal line was altered"):
        list(decode_all([LINES[0], LINES[1].replace(b"hold", b"gold"), LINES[2]]))


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b'{"v":1,"crc":"zz"}\n'])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)
