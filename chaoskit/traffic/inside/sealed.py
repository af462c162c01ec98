"""TLS over a line, by the standard library's own TLS. Encrypts and decrypts; decides nothing about whom to trust, that is the context's."""

from __future__ import annotations

import ssl

from chaoskit.traffic.inside.line import RECEIVE_BYTES, Line


class Sealed:
    """A line whose bytes are TLS records. Made from a line that is connected."""

    __slots__ = ("_incoming", "_line", "_outgoing", "_tls")

    def __init__(self, line: Line, context: ssl.SSLContext, server_name: str) -> None:
        self._line = line
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def shake_hands(self) -> None:
        """Raises OSError, of which ssl.SSLCertVerificationError says that the server is not trusted."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
        self._flush()

    def send(self, data: bytes) -> bool:
        """Send all of it. What arrives meanwhile may be part of the protocol, and is left for later."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:RECEIVE_BYTES]) :]
            self._flush()
        return True

    def recv(self) -> bytes:
        """What comes next; nothing when the other side has ended the session. Raises ssl.SSLEOFError when it only closed the connection."""
        while True:
            try:
                return self._tls.read(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                self._feed()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._line.send(data, listening=False)

    def _feed(self) -> None:
        if data := self._line.recv():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
