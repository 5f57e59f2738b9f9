"""`moltbot serve`: the gateway of one route on one machine, in the foreground, without a cluster.

::

    files ─ files.py ─> Manifests ─ compiler ─> launch.py: agent and Envoy in a folder of their own
      ▲                                             │
      └─ watch.py: a change ─> server.py: the new one beside the old, the port handed over, the old drained

The same compiler, agent and Envoy as in a gateway pod; files are in a folder of the user, ports on
loopback.
"""

from moltbot_operator.serve.gateway import gateway
from moltbot_operator.serve.launch import Gateway
from moltbot_operator.serve.process import run

__all__ = ["Gateway", "gateway", "run"]
