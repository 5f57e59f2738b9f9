"""A simulated issuer of API keys: an admin API in the forms of several products, with faults.

In a test::

    async with Issuer() as issuer:
        issuer.fault("lost", operation="create")     # makes the key, then cuts the connection
        ...                                          # the admin credential is issuer.admin_key
        assert [key.name for key in issuer.valid()] == ["moltbot-…"]

As a process: ``python -m moltbot_issuer --port 8000 --admin-port 8001 --admin-key s3cret``.
"""

from moltbot_issuer.faults import FAULTS, Fault
from moltbot_issuer.keys import Key, Keys
from moltbot_issuer.server import Call, Issuer

__all__ = ["FAULTS", "Call", "Fault", "Issuer", "Key", "Keys"]
