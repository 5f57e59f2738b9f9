"""Clients of those who make credentials: admin APIs, registration endpoints, keys of our own.

===========  ======================================================================================
`opening`    a backend's spec → its issuer
`webhook`    keys by an admin API; `admin_apis` has the known ones as data
`registration`  OAuth 2.0 clients that register themselves
`own_keys`   signing keys made here, and Secrets that somebody else fills
`verifying`  trying a credential as gateways will use it
`calls`      one HTTP call, and what its failure lets one assume
`hosts`      how fast each host is called
===========  ======================================================================================
"""

from moltbot_operator.providers.issuers.admin_apis import ADMIN_APIS, AdminApi
from moltbot_operator.providers.issuers.hosts import Hosts
from moltbot_operator.providers.issuers.opening import Issuers

__all__ = ["ADMIN_APIS", "AdminApi", "Hosts", "Issuers"]
