"""A simulated model provider: a real HTTP server with OpenAI's operations and programmable faults.

In a test::

    async with Provider(name="dialog_pro") as provider:
        await provider.fault("status", status=503, count=2)
        ...                             # requests go to provider.url
        assert provider.requests[0].path == "/v1/chat/completions"

As a process: ``python -m moltbot_provider --name dialog_pro --port 8000 --admin-port 8001``.
"""

from moltbot_provider.faults import KINDS, Fault, Faults
from moltbot_provider.records import Record, Records
from moltbot_provider.server import Provider

__all__ = ["KINDS", "Fault", "Faults", "Provider", "Record", "Records"]
