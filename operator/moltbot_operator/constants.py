"""Names and numbers that more than one module must agree on."""

from datetime import timedelta
from typing import Final

GROUP: Final = "moltbot.io"
"""API group of both resources."""

VERSION: Final = "v1alpha1"
"""The served and stored version."""

API_VERSION: Final = f"{GROUP}/{VERSION}"

BACKENDS: Final = "modelbackends"
"""Plural resource name of ModelBackend."""

ROUTES: Final = "moltbotroutes"
"""Plural resource name of MoltBotRoute."""

FIELD_MANAGER: Final = "moltbot-operator"
"""Field manager of objects that a route owns."""

SCALE_MANAGER: Final = "moltbot-scaler"
"""Field manager of the number of workers, which nothing else writes."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"

MANAGED_BY: Final = "moltbot-operator"
"""Value of LABEL_MANAGED_BY; the operator watches children by it."""

LABEL_ROUTE: Final = "moltbot.io/route"
"""Name of the owning MoltBotRoute (same namespace)."""

LABEL_REVISION: Final = "moltbot.io/revision"
"""Revision that an object belongs to."""

LABEL_BACKEND: Final = "moltbot.io/backend"
"""Name of the owning ModelBackend (same namespace)."""

COMPONENT_GATEWAY: Final = "gateway"

COMPONENT_WORKER: Final = "worker"

COMPONENT_SIGNING_KEY: Final = "signing-key"

COMPONENT_CREDENTIAL: Final = "credential"
"""The Secret that gateways mount, of a credential that is rotated."""

COMPONENT_CREDENTIAL_VERSION: Final = "credential-version"
"""The immutable Secret of one version of it."""

COMPONENT_CONSUMER_KEY: Final = "consumer-key"
"""On Secrets with rotated keys of consumers, by which a person lets one be rotated, too."""

ANNOTATION_KEY: Final = "moltbot.io/key-rotation"
"""On these Secrets: where the rotation stands, as JSON; nothing secret."""

ANNOTATION_ROTATE_AT: Final = "moltbot.io/rotate-at"
"""On a Secret with a consumer's key: when the key is to be replaced once, besides its interval (RFC 3339)."""

LABEL_VERSION: Final = "moltbot.io/credential-version"
"""Version that such a Secret holds."""

PORT_GATEWAY: Final = 8080
"""Envoy's public listener in the pod."""

PORT_READY: Final = 8081
"""Envoy's readiness listener: GET /ready answers 200 until draining starts."""

PORT_PROBE: Final = 8082
"""Envoy's listener for the operator's own test requests: needs the probe's secret."""

PORT_METRICS: Final = 9090
"""The agent's Prometheus endpoint: GET /metrics; GET /healthz for its own probes."""

PORT_EVIDENCE: Final = 9091
"""The agent's evidence endpoint: GET /evidence with a bearer token."""

PORT_CALLS: Final = 8090
"""Envoy's listener that workers call back."""

PORT_WORKER: Final = 8080
"""A worker's requests, in its own pod; its metrics and evidence have the gateway's ports."""

DIR_WORKER: Final = "/etc/moltbot/worker"
"""Mount of a worker's configuration (file `worker.json`)."""

DIR_WORKER_SECRET: Final = "/etc/moltbot/worker-secret"  # noqa: S105 - the path of a folder
"""Mount of the secret that gateway and workers of a revision share."""

DIR_STORE: Final = "/etc/moltbot/store"
"""Mount of the store's password (file `password`)."""

DIR_TEMPLATES: Final = "/etc/moltbot/templates"
"""Mount of templates for warm-up, one folder a ConfigMap."""

DIR_CONFIG: Final = "/etc/moltbot/config"
"""Mount of the revision's immutable ConfigMaps: parts of the compressed configuration."""

DIR_CREDENTIALS: Final = "/etc/moltbot/credentials"
"""Mount of credentials, one folder a backend."""

DIR_CONSUMERS: Final = "/etc/moltbot/consumers"
"""Mount of consumers' keys, one folder a consumer."""

DIR_CA: Final = "/etc/moltbot/ca"
"""Mount of private CA bundles, one folder a backend."""

DIR_TLS: Final = "/etc/moltbot/tls"
DIR_JWKS: Final = "/etc/moltbot/jwks"
"""Mount of public keys of token issuers, one folder a ConfigMap."""

DIR_EVIDENCE: Final = "/etc/moltbot/evidence"
"""Mount of the evidence token (file `token`)."""

DIR_PROBE: Final = "/etc/moltbot/probe"
"""Mount of the probe's secret (file `probe`), which test requests show."""

DIR_RUN: Final = "/run/moltbot"
"""Memory-backed folder shared by agent and Envoy: bootstrap, SDS and ECDS files."""

SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
"""CA bundle of the image, for public providers."""

MAX_ROUTE_NAME: Final = 40
"""Longest route name: children's names add a suffix and must stay DNS labels of at most 63."""

BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Largest request body, and Envoy's buffer limit a connection (the default 1 MiB gives 413)."""

RESYNC: Final = timedelta(minutes=10)
"""How often the cache is compared with a full listing, since a deletion may go unseen."""
