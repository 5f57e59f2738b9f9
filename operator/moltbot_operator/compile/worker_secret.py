"""The secret that a revision's gateway and workers share, in the forms that each of them reads.

Envoy checks it as a password (basic_auth, whose file holds only a hash) and injects it as a generic secret;
a worker sends and compares the header's whole value.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha1, sha256
from hmac import new
from typing import Final

__all__ = ["KEY_FILE", "SDS_FILE", "SDS_NAME", "USERS_FILE", "WEBHOOK_FILE", "worker_secret"]

KEY_FILE: Final = "key"
"""The header's value."""

USERS_FILE: Final = "users"
"""htpasswd, as Envoy's basic_auth reads it."""

SDS_FILE: Final = "sds.json"
"""The header's value as Envoy's generic secret."""

WEBHOOK_FILE: Final = "webhook"
"""What signatures of webhooks derive from: the same for all revisions of a route."""

SDS_NAME: Final = "worker-key"

_USER: Final = "gateway"


def worker_secret(seed: str, revision: str) -> Mapping[str, str]:
    """Names and contents of the files. `seed`: the route's own random text, from which all is derived."""
    password = _derived(seed, f"worker {revision}")
    value = f"Basic {b64encode(f'{_USER}:{password}'.encode()).decode()}"
    # SHA-1 is what Envoy's htpasswd knows; of 256 random bits it gives nothing away.
    digest = b64encode(sha1(password.encode(), usedforsecurity=False).digest()).decode()
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": SDS_NAME,
        "generic_secret": {"secret": {"inline_string": value}},
    }
    return {
        KEY_FILE: value,
        USERS_FILE: f"{_USER}:{{SHA}}{digest}\n",
        SDS_FILE: json.dumps({"resources": [secret]}),
        WEBHOOK_FILE: _derived(seed, "webhook"),
    }


def _derived(seed: str, purpose: str) -> str:
    return new(seed.encode(), purpose.encode(), sha256).hexdigest()
