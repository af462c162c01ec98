"""The request log: what was written is read, whatever a crash leaves of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.requests import Request
from chaoskit.traffic.log import DTYPE, HEADER_BYTES, RECORD, RECORD_BYTES, Row, Tail, Writer, paths_of, read_requests


def row(seq: int, pod: str = "pod-a", error: str = "") -> Row:
    start_ns = 1_000 + seq
    return Row(seq, start_ns - 1, start_ns, start_ns + 5, 200, error, pod, "v1", "node-1", "GET /", "fresh", 3)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write([row(0), row(1, pod="pod-b", error="reset.body")])
    writer.write([row(2)])
    requests = read_requests(tmp_path)
    assert requests.row(1) == Request(
        1, 1000, 1001, 1006, 200, "reset.body", "pod-b", "v1", "node-1", "GET /", "fresh", 3
    )
    assert [request.pod for request in requests] == ["pod-a", "pod-b", "pod-a"]


def test_a_folder_without_a_log_gives_no_requests(tmp_path: Path) -> None:
    assert len(read_requests(tmp_path)) == 0


def test_any_prefix_of_the_records_is_valid(tmp_path: Path) -> None:
    Writer(tmp_path).write([row(0), row(1)])
    records, _ = paths_of(tmp_path)
    whole = records.read_bytes()
    for length in range(len(whole) + 1):
        records.write_bytes(whole[:length])
        assert [r.seq for r in read_requests(tmp_path)] == list(range(max(0, length - HEADER_BYTES) // RECORD_BYTES))


def test_a_torn_line_of_texts_reads_as_unknown(tmp_path: Path) -> None:
    Writer(tmp_path).write([row(0)])
    _, texts = paths_of(tmp_path)
    texts.write_bytes(texts.read_bytes()[:-5])  # the last text is the policy's
    assert read_requests(tmp_path).row(0).policy == ""
    assert read_requests(tmp_path).row(0).pod == "pod-a"


def test_a_file_that_is_not_a_request_log_is_refused(tmp_path: Path) -> None:
    paths_of(tmp_path)[0].write_bytes(b"x" * 200)
    with pytest.raises(CouldNotRun, match="not a request log"):
        read_requests(tmp_path)


def test_a_tail_gives_each_request_once_and_all_of_them(tmp_path: Path) -> None:
    tail, writer, seen = Tail(tmp_path), Writer(tmp_path), []
    assert len(tail.new()) == 0
    for seq in range(50):
        writer.write([row(seq, pod=f"pod-{seq % 7}")])
        if seq % 3 == 0:
            seen += list(tail.new())
    seen += list(tail.new())
    assert seen == list(read_requests(tmp_path))
    assert [request.seq for request in seen] == list(range(50))


def test_a_tail_waits_for_the_rest_of_a_record(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    Writer(tmp_path).write([row(0), row(1)])
    records, _ = paths_of(tmp_path)
    whole = records.read_bytes()
    records.write_bytes(whole[:-7])
    assert [request.seq for request in tail.new()] == [0]
    records.write_bytes(whole)
    assert [request.seq for request in tail.new()] == [1]


def test_the_logs_of_several_processes_are_one(tmp_path: Path) -> None:
    """Each process numbers its texts on its own: the same number means different pods."""
    Writer(tmp_path, 0).write([row(0, pod="pod-a"), row(2, pod="pod-b")])
    Writer(tmp_path, 1).write([row(1, pod="pod-b"), row(3, pod="pod-c")])
    requests = read_requests(tmp_path)
    assert {request.seq: request.pod for request in requests} == {0: "pod-a", 1: "pod-b", 2: "pod-b", 3: "pod-c"}
    assert sorted(requests.by("pod")) == ["pod-a", "pod-b", "pod-c"]


def test_values_out_of_range_are_kept_as_near_as_they_fit(tmp_path: Path) -> None:
    Writer(tmp_path).write([row(0)._replace(uses=100_000, status=70_000, pod="p" * 1000)])
    read = read_requests(tmp_path).row(0)
    assert (read.uses, read.status, read.pod) == (65_535, 0, "p" * 256)


def test_a_new_log_never_overwrites_an_old_one(tmp_path: Path) -> None:
    Writer(tmp_path).write([row(0)])
    with pytest.raises(FileExistsError):
        Writer(tmp_path)


def test_a_million_records_are_read_well_below_a_second(tmp_path: Path) -> None:
    Writer(tmp_path).write([row(0)])
    records, _ = paths_of(tmp_path)
    one = records.read_bytes()[HEADER_BYTES:]
    with records.open("ab") as file:
        file.write(one * 999_999)
    began = time.process_time()
    assert len(read_requests(tmp_path)) == 1_000_000
    assert time.process_time() - began < 1.0


def test_numpy_reads_the_records_by_the_printed_type(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    Writer(tmp_path).write([row(0), row(1)])
    records = numpy.fromfile(paths_of(tmp_path)[0], dtype=DTYPE, offset=HEADER_BYTES)
    assert records.dtype.itemsize == RECORD.size == RECORD_BYTES
    assert list(records["end_ns"]) == [1005, 1006]
    assert list(records["uses"]) == [3, 3]
