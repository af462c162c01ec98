"""Users, and the tokens of service accounts. Knows no roles.

Tokens are JWTs with the claims of a real TokenRequest; they are signed with a key of this server's own and end with it.
Source: kubernetes.io, Managing Service Accounts, Bound service account tokens; claims recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from chaoskit.sandbox.store import Obj, Store

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
_ACCOUNT: Final = "system:serviceaccount:"
_CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"
_HEADER: Final = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True, slots=True)
class User:
    """Whoever sent a request."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def info(self) -> Obj:
        """authentication.k8s.io/v1 UserInfo."""
        shown: Obj = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra.items()}
        return {key: value for key, value in shown.items() if value}


ADMINISTRATOR: Final = User("chaoskit-admin", (MASTERS, AUTHENTICATED))
ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


def service_account(namespace: str, name: str, uid: str = "", token_id: str = "") -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    extra = {_CREDENTIAL: (f"JTI={token_id}",)} if token_id else {}
    return User(f"{_ACCOUNT}{namespace}:{name}", groups, uid, extra)


def account_of(user: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user name stands for."""
    namespace, colon, name = user.removeprefix(_ACCOUNT).partition(":")
    return (namespace, name) if user.startswith(_ACCOUNT) and colon and namespace and name else None


class Tokens:
    """Issues tokens of service accounts and knows its own again, as long as their account lives."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)

    def issue(self, account: Obj, audiences: list[str], seconds: int, bound: Obj | None) -> tuple[str, int]:
        """A token and the second of the epoch in which it expires."""
        metadata, now = account["metadata"], int(time.time())
        named: Obj = {"namespace": metadata["namespace"]}
        named["serviceaccount"] = {"name": metadata["name"], "uid": metadata["uid"]}
        if bound is not None:
            named[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {"aud": audiences, "exp": now + seconds, "iat": now, "iss": ISSUER, "jti": str(uuid.uuid4())}
        claims |= {"kubernetes.io": named, "nbf": now, "sub": f"{_ACCOUNT}{metadata['namespace']}:{metadata['name']}"}
        body = f"{_encoded(_HEADER)}.{_encoded(claims)}"
        return f"{body}.{self._signature(body)}", now + seconds

    def user(self, token: str) -> User | None:
        """Whose token this is; None for one that is not ours, has expired or outlived its account."""
        claims = self._claims(token)
        if claims is None or claims["exp"] <= time.time() or ISSUER not in claims["aud"]:
            return None
        named = claims["kubernetes.io"]
        account = self._store.get("serviceaccounts", named["namespace"], named["serviceaccount"]["name"])
        if account is None or account.obj["metadata"]["uid"] != named["serviceaccount"]["uid"]:
            return None
        if "pod" in named and self._store.by_uid(named["pod"]["uid"]) is None:
            return None
        return service_account(
            named["namespace"], named["serviceaccount"]["name"], account.obj["metadata"]["uid"], claims["jti"]
        )

    def _claims(self, token: str) -> dict[str, Any] | None:
        body, _, signature = token.rpartition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        try:
            claims: dict[str, Any] = orjson.loads(_decoded(body.partition(".")[2]))
        except (ValueError, binascii.Error):
            return None
        return claims

    def _signature(self, body: str) -> str:
        return _text(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def _encoded(value: object) -> str:
    return _text(orjson.dumps(value))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
