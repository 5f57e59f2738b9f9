"""Requests whose answers are fetched later.

::

    request ─► submit (202) ─► queue ─► runner: one call ─► ended ─► GET /v1/jobs/{id}
                                                    └─► webhook, if one was asked for
"""
