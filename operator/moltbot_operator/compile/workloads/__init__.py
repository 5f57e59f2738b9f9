"""Compiled route → Kubernetes objects (pure): one file a kind of object.

Equal input gives equal objects, so that comparing them with the cluster tells whether there is anything to
do. Fields that the API server fills in are left out, or given as the server would.
"""

from moltbot_operator.compile.workloads.autoscaler import autoscaler
from moltbot_operator.compile.workloads.copies import (
    ANNOTATION_SOURCE,
    Foreign,
    copied_object,
    foreign_objects,
)
from moltbot_operator.compile.workloads.evidence import PROBE_KEY, TOKEN_KEY, probe_key
from moltbot_operator.compile.workloads.identity import NO_REVISION, Manifest, Owner
from moltbot_operator.compile.workloads.pod_parts import Image, PullPolicy
from moltbot_operator.compile.workloads.render import (
    GatewayRevision,
    gateway_revision,
    revision_manifests,
    shared_manifests,
)
from moltbot_operator.compile.workloads.worker import CPU_REQUEST as WORKER_CPU_REQUEST

__all__ = [
    "ANNOTATION_SOURCE",
    "NO_REVISION",
    "PROBE_KEY",
    "TOKEN_KEY",
    "WORKER_CPU_REQUEST",
    "Foreign",
    "GatewayRevision",
    "Image",
    "Manifest",
    "Owner",
    "PullPolicy",
    "autoscaler",
    "copied_object",
    "foreign_objects",
    "gateway_revision",
    "probe_key",
    "revision_manifests",
    "shared_manifests",
]
