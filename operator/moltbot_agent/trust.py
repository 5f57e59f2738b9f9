"""Trust in TLS servers, the same with every Python and as Envoy has it."""

import ssl

__all__ = ["trusting"]


def trusting(cafile: str | None = None) -> ssl.SSLContext:
    """Trust in this bundle, or in the system's CAs. Raises OSError and ValueError where there is none.

    Python 3.13 asks for extensions of RFC 5280 too (such as Authority Key Identifier), which certificates of
    many private CAs lack: what verified with 3.11 shall with 3.13
    (https://docs.python.org/3/library/ssl.html#ssl.create_default_context).
    """
    context = ssl.create_default_context(cafile=cafile)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
