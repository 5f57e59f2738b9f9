"""The fault matrix with real pods: outcome, attempts and audit record of every cell."""

import models
import pytest
from fault_matrix import BACKEND, RULE, cells, found
from sites import MAX, PRO, backend, route

import cluster as access
from moltbot_operator.audit import calls

MODELS = {"first": PRO, "second": MAX}
"""Whose place each of the matrix's two backends takes."""


@pytest.fixture(scope="module")
def outcomes(site):
    """What came of every cell, by its id."""
    every = cells()
    backends = [
        backend(name, site.namespace, endpoint={"service": {"name": model, "port": models.PORT}}, **BACKEND)
        for name, model in MODELS.items()
    ]
    for each in backends:
        del each["spec"]["model"]  # a rule that reads bodies holds plain answers: a cut one becomes a 502
    site.cluster.apply([*backends, route("matrix", site.namespace, [RULE])])
    site.wait_serving("matrix")
    admins = {}
    for name, model in MODELS.items():
        (pod,) = site.pods(f"app.kubernetes.io/name={model}")
        admins[name] = f"http://{pod['status']['podIP']}:{models.ADMIN_PORT}"
    url = f"http://matrix.{site.namespace}.svc/v1/chat/completions"
    job = {"url": url, "admins": admins, "cells": [cell.job for cell in every]}
    results = site.client("matrix", seconds=300, **job)["results"]
    wanted = {cell.request_id for cell in every}

    def written():
        lines = []
        for pod in site.pods("moltbot.io/route=matrix"):
            name = pod["metadata"]["name"]
            lines += site.cluster.kubectl("logs", name, "-c", "envoy", "-n", site.namespace).splitlines()
        records = {each["request_id"]: each for each in calls(lines)}
        return records if wanted <= records.keys() else None

    records = access.wait_until("the audit record of every cell", written, 60)
    return {
        cell.id: found(cell, result, records[cell.request_id])
        for cell, result in zip(every, results, strict=True)
    }


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.id)
def test_cell(outcomes, cell):
    assert outcomes[cell.id] == cell.outcome
