"""A node of the sandbox: runs the pods bound to it as real processes. A client of the API server; imports nothing of its neighbours."""

from __future__ import annotations

from chaoskit.sandbox.node.supervisor import serve

__all__ = ["serve"]
