"""What the front says when the launcher does not come up."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import pytest

from chaoskit.sandbox import cluster
from chaoskit.sandbox.cluster import SandboxError

_DIES = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])  # holds the output open
print("out of luck", file=sys.stderr)
sys.exit(7)
"""


def test_a_launcher_that_dies_at_once_is_noticed_at_once_with_its_last_words() -> None:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        words = [sys.executable, "-S", "-E", "-c", _DIES]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True) as launcher:
            with pytest.raises(SandboxError, match=r"exit code 7\nout of luck"):
                cluster._announced(launcher, log)
            assert time.monotonic() - began < 2.5
