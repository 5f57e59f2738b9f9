"""The only Kubernetes I/O: client, cache, queue, watches, lease and events.

::

    kopf (handlers.py) ─┐
    watch.py ───────────┼─▶ feed.py ─▶ cache.py
    resync.py ──────────┘      └─────▶ queue.py ─▶ reconcile/
                                                     │
    connection.py ─▶ client.py  ◀── cluster.py ◀─────┘
"""
