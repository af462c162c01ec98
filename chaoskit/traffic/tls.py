"""Whom an https url of traffic is trusted to, and who we say we are. Makes contexts; opens no connection."""

from __future__ import annotations

import ssl

from chaoskit.traffic.plan import GeneratorError, Tls


def context_of(tls: Tls) -> ssl.SSLContext:
    """The context for a client. Raises GeneratorError naming the file that is no use."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError) as error:
        raise GeneratorError(f"tls.caFile {tls.ca_file} cannot be used: {_why(error)}") from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None:
        try:
            # A password would be asked for on a terminal that nobody watches.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except (OSError, ValueError) as error:
            named = f"tls.certFile {tls.cert_file}" + (f" with tls.keyFile {tls.key_file}" if tls.key_file else "")
            raise GeneratorError(f"{named} cannot be used: {_why(error)}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
