"""A simulated identity provider: an OAuth 2.0 server (Authlib) with introspection and faults.

In a test::

    async with Identity(clients={"gateway": "s3cret"}, life=2.0) as identity:
        await identity.fault("hang")
        ...                              # the token endpoint is identity.token_url
        assert identity.calls[-1].outcome == "hang"

As a process: ``python -m moltbot_identity --client gateway=s3cret --port 8000 --admin-port 8001``.
"""

from moltbot_identity.server import FAULTS, Call, Identity

__all__ = ["FAULTS", "Call", "Identity"]
