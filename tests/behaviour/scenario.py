"""How a scenario says what it restates."""

from __future__ import annotations

import pytest


def scenario(behaviour: str, source: str, *, differs: str = "") -> pytest.MarkDecorator:
    """Mark a test: the behaviour in one sentence, the page, source file or conformance test that says so, and a known difference.

    `differs` is a difference between the sandbox and a real cluster that the test allows; it is printed in docs/fidelity.md.
    """
    return pytest.mark.scenario(behaviour, source, **({"differs": differs} if differs else {}))
