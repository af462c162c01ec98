"""Tokens of service accounts for projected volumes: asked for, kept, and asked for anew in time. Issues none itself."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure, Client
from chaoskit.sandbox.node.states import parse_stamp

Obj: TypeAlias = dict[str, Any]
_RENEW_AFTER = 0.8
"""Of its lifetime (kubernetes.io: Configure Service Accounts for Pods, ServiceAccount token volume projection)."""
_DEFAULT_LIFETIME_S = 3600
_NOT_SERVED = (404, 405, 501)


class NoTokens(Exception):
    """This cluster gives no tokens; the text says so to the pod's reader."""


class Tokens:
    """The tokens of one pod, by what was asked for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, int], tuple[bytes, float]] = {}

    async def get(self, pod: Obj, source: Obj) -> bytes:
        """The token for a serviceAccountToken source. Raises NoTokens, and ApiFailure for anything else."""
        wanted = (source.get("audience", ""), int(source.get("expirationSeconds") or _DEFAULT_LIFETIME_S))
        token, renew_at = self._known.get(wanted, (b"", 0.0))
        if time.time() >= renew_at:
            token, renew_at = self._known[wanted] = await self._request(pod, *wanted)
        return token

    async def _request(self, pod: Obj, audience: str, lifetime_s: int) -> tuple[bytes, float]:
        metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName") or "default"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec: Obj = {
            "expirationSeconds": lifetime_s,
            "boundObjectRef": bound,
            "audiences": [audience] if audience else [],
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        now = time.time()
        try:
            status = (await self._client.create(path, body))["status"]
        except ApiFailure as failure:
            if failure.code in _NOT_SERVED:
                raise NoTokens(f"no token of service account {account} in the volume: {failure}") from failure
            raise
        expires = parse_stamp(status["expirationTimestamp"]) if "expirationTimestamp" in status else now + lifetime_s
        return status["token"].encode(), now + (expires - now) * _RENEW_AFTER
