"""Consent to act on what looks like production: its name typed by a person, or its identity given by a pipeline. Asks; never takes --yes for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import click

from chaoskit.cli.place import Place
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.resource import Ref
from chaoskit.semantics.consent import looks_like_production

VARIABLE = "CHAOSKIT_CONFIRM"
_HOW = "kubectl get namespace kube-system -o jsonpath={.metadata.uid}"


async def confirm_production(where: Place, line: Callable[[], Awaitable[str]]) -> None:
    """Nothing for other places. Raises CouldNotRun when neither CHAOSKIT_CONFIRM holds the cluster's identity nor its context's name is typed.

    The identity of a cluster is the uid of its namespace kube-system: no other has it, whatever a context is called.
    """
    context = where.cluster.context
    host = urlsplit(where.cluster.server).hostname or ""
    if where.is_sandbox or not looks_like_production(context, host):
        return
    if confirmed := os.environ.get(VARIABLE, ""):
        await _check_identity(where, confirmed)
    elif not sys.stdin.isatty():
        raise CouldNotRun(
            f"context {context} ({host}) looks like production, and there is no terminal to type its name on: set {VARIABLE} to "
            f"the uid of its namespace kube-system ({_HOW}); nothing was touched"
        )
    else:
        click.echo(f"Context {context} ({host}) looks like production. Type its name to go on: ", err=True, nl=False)
        if (await line()).strip() != context:
            raise CouldNotRun("not confirmed; nothing was touched")


async def _check_identity(where: Place, confirmed: str) -> None:
    uid = (await where.cluster.get(Ref("Namespace", "kube-system")))["metadata"]["uid"]
    if uid != confirmed:
        raise CouldNotRun(
            f"{VARIABLE} is not the uid of namespace kube-system of context {where.cluster.context}: it was meant for another cluster; "
            "nothing was touched"
        )
