"""Replacing credentials so that no request is refused: which step is next (pure)."""

from moltbot_operator.rotation.issuing import (
    Credential,
    Found,
    Issuer,
    IssuerFor,
    Reader,
    tag_of,
    tag_prefix,
)

__all__ = ["Credential", "Found", "Issuer", "IssuerFor", "Reader", "tag_of", "tag_prefix"]
