"""Experiment files damaged at random, and what became of each: a clean refusal, or an experiment that still plans safely. Counts; asserts nothing.

The full enumeration, by hand: `python -m tests.safety.malformed 10000` (about two minutes on one core).
"""

from __future__ import annotations

import dataclasses
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from chaoskit.cli.files import read_file
from chaoskit.model.errors import ChaosError, ExperimentError
from chaoskit.runner.plan import plan
from tests.cli.command import BROKEN, ROOT
from tests.fake_cluster import shop
from tests.virtual_time import run_virtual

NASTY: Sequence[Any] = (
    None, True, False, 0, -1, 1, 1.5, 1e308, 10**18, "", " ", "\n", "\0", "é", "\u202e", "..", "../../etc/passwd", "/dev/zero", "kube-system",
    "*", "&a", "*a", "!!python/object:os.system", "{{7*7}}", "${HOME}", "$(id)", "`id`", "; rm -rf /", "' or 1=1", "%00", "%2e%2e%2f",
    "1e999", ".inf", ".nan", "0x10", "0o7", "010", "1_000", "12:30:45", "2001-01-01", "yes", "no", "on", "~", "null", "100%", "0%", "101%",
    "-5s", "1h", "9" * 400, "a" * 300, "a/b", "A", "http://", "https://u:p@h/", "file:///etc/passwd", "p99 < 1s", ">= 99%", [], {}, [[]],
    [None], {"": ""}, {"a": {"b": {"c": []}}}, {"valueFrom": {"env": "HOME"}}, {1: 2}, ["a"] * 50,
)  # fmt: skip
"""Values that parsers, paths, URLs, shells and templates have been broken by."""

TOKENS = (
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "#",
    "|",
    ">",
    "&x ",
    "*x",
    "!!",
    "!tag ",
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "\t",
    "\r",
    "\x00",
    "\x85",
    "\ufeff",
    "<<: ",
    "? ",
    "'",
    '"',
    "\\",
    "\ud83d\ude00",
)


def corpus() -> list[bytes]:
    """Our own experiments, the fragile ones, and all that are known to be broken."""
    # Without their setup, whose path leads nowhere from another folder.
    sound = [_without_setup(path.read_bytes()) for path in sorted((ROOT / "experiments").glob("**/*.yaml"))]
    return sound * 20 + [path.read_bytes() for path in sorted(BROKEN.glob("*.yaml"))]


def _without_setup(raw: bytes) -> bytes:
    return b"\n".join(line for line in raw.split(b"\n") if b"setup:" not in line)


def damaged(dice: random.Random, texts: Sequence[bytes]) -> bytes:
    """One of the texts, changed one to four times."""
    raw = dice.choice(texts)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 4))):
        raw = dice.choice(_WAYS)(dice, raw, texts)
    return raw


def _bytes(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.randbytes(dice.randint(1, 4)) + raw[at + dice.randint(0, 4) :]


def _cut(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    begin, end = sorted((dice.randrange(len(raw) + 1), dice.randrange(len(raw) + 1)))
    return raw[:begin] + raw[end:] if dice.random() < 0.5 else raw[begin:end]


def _splice(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    other = dice.choice(texts)
    return raw[: dice.randrange(len(raw) + 1)] + other[dice.randrange(len(other) + 1) :]


def _token(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.choice(TOKENS).encode("utf-8", "surrogatepass") + raw[at:]


def _lines(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    lines = raw.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join([*lines[:other], lines[one], *lines[other:]] if dice.random() < 0.5 else lines)


def _value(dice: random.Random, raw: bytes, texts: Sequence[bytes]) -> bytes:
    """A value somewhere in the structure, replaced by a nasty one, removed, or given a stray neighbour."""
    try:
        document = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError):
        return raw
    places = list(_places(document))
    if not places:
        return raw
    holder, key = dice.choice(places)
    match dice.randrange(4):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(dice.choice(NASTY))] = holder[key]
        case _:
            holder[key] = dice.choice(NASTY)
    try:
        return yaml.safe_dump(document, default_flow_style=dice.random() < 0.3).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, UnicodeError, RecursionError, TypeError):
        return raw


def _places(node: Any) -> Any:
    pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, value in pairs:
        yield node, key
        yield from _places(value)


_WAYS: Sequence[Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = (
    _bytes, _cut, _splice, _token, _token, _lines, _value, _value, _value, _value,
)  # fmt: skip


def outcome(raw: bytes, path: Path) -> str:
    """What became of one file: "refused", "valid ...", or a traceback."""
    path.write_bytes(raw)
    try:
        file = read_file(path)
    except ExperimentError as error:
        said = str(error)
        return (
            "refused" if said.strip() and len(said.splitlines()) == 1 and said.isprintable() else f"unclean: {said!r}"
        )
    except BaseException:  # noqa: BLE001 - the very thing that is looked for
        return f"traceback: {traceback.format_exc()}"
    return _planned(dataclasses.replace(file.experiment, traffic=None))


def _planned(experiment: Any) -> str:
    async def story() -> str:
        cluster = shop()
        try:
            await plan(experiment, cluster, run="m4lf", seed=1)
        except ChaosError:
            return "valid, not planned" if not cluster.sent else "WRITES"
        return "valid, planned" if not cluster.sent else "WRITES"

    try:
        return run_virtual(story())
    except BaseException:  # noqa: BLE001
        return f"traceback: {traceback.format_exc()}"


def outcomes(seeds: range) -> list[tuple[int, str]]:
    """One for each seed."""
    texts = corpus()
    with tempfile.TemporaryDirectory(prefix="chaoskit-malformed-") as folder:
        # Beside the corpus the relative paths in it would lead somewhere.
        path = Path(folder) / "experiment.yaml"
        return [(seed, outcome(damaged(random.Random(seed), texts), path)) for seed in seeds]


def is_clean(said: str) -> bool:
    """Whether that is how a file may end."""
    return said == "refused" or said.startswith("valid")


def main(count: int) -> int:
    done = outcomes(range(count))
    wrong = [(seed, said) for seed, said in done if not is_clean(said)]
    for name, number in Counter(said.partition(":")[0] for _, said in done).most_common():
        print(f"{number:7d}  {name}")
    for seed, said in wrong[:20]:
        print(f"seed {seed}: {said}")
    tracebacks = sum(said.startswith("traceback") for _, said in wrong)
    print(
        f"{count} files, {tracebacks} tracebacks, {sum(said == 'WRITES' for _, said in wrong)} with writes, {len(wrong)} not clean"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
