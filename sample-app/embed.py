"""Write service.py into the ConfigMap of each set of manifests, so that the application needs no image of its own.

    python sample-app/embed.py            after each change of service.py

Writes 00-code.yaml beside the other manifests and nothing else; it talks to no cluster.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = tuple(HERE / "manifests" / name / "00-code.yaml" for name in ("sturdy", "fragile"))
HEAD = """\
# Written by sample-app/embed.py from sample-app/service.py: change that one, then run this script.
apiVersion: v1
kind: ConfigMap
metadata:
  name: sample-app
  labels:
    app.kubernetes.io/part-of: sample-app
data:
  service.py: |
"""


def render(source: str) -> str:
    """The ConfigMap with `source` as a block of text, which keeps every character and reads well in a diff."""
    return HEAD + textwrap.indent(source, "    ")


def main() -> None:
    manifest = render((HERE / "service.py").read_text(encoding="utf-8"))
    for target in TARGETS:
        target.write_text(manifest, encoding="utf-8")


if __name__ == "__main__":
    main()
