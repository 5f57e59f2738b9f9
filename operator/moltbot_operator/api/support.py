"""Which parts of a spec this version does not implement yet.

Fields of later versions exist and are validated now. A resource that uses one is told so by a condition
(`Accepted=False`, `NotSupportedYet`), never served as if the field were not there. Once a field is
implemented, its line here goes.
"""

from moltbot_operator.api.backend import ModelBackendSpec
from moltbot_operator.api.rotation import IssuerType

__all__ = ["unsupported_backend"]


def unsupported_backend(spec: ModelBackendSpec) -> list[str]:
    """Fields used by a backend that are not implemented yet, as in `rotation`."""
    if spec.rotation is None or spec.auth.jwt is None:
        return []
    issuer, managed = spec.rotation.issuer.type, spec.auth.jwt.signing_key.managed
    if issuer not in {IssuerType.MANAGED_KEY, IssuerType.EXTERNAL} or (
        managed and issuer is IssuerType.EXTERNAL
    ):
        return [f"rotation.issuer.type: {issuer} with auth.type: JWT and jwt.signingKey"]
    return []
