"""Clients of what stands outside the cluster: issuers of credentials, and what rollouts ask and tell.

::

    gates.py ─────────┐
    notifications.py ─┤                      one call with limits, no redirects,
    prometheus.py ────┼──── outbound.py      errors without secrets
    preview.py ───────┘
    rollouts.py: all of them as rollout/ports.py wants them

Only here, and where evidence is read, does the operator speak HTTP to anybody but the API server.
"""
