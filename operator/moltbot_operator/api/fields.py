"""Kinds of strings and numbers that several types share: bounded, and with a remedy for a wrong one."""

import re
from typing import Annotated, Final

from pydantic import Field

from moltbot_operator.api.constraints import Text, Unique

__all__ = [
    "DNS_LABEL",
    "BackendList",
    "BackendReference",
    "Flag",
    "HeaderName",
    "HostName",
    "HttpUrl",
    "LabelKey",
    "LabelValue",
    "ModelName",
    "Name",
    "ObjectName",
    "Percent",
    "Port",
    "Revision",
    "RuleName",
    "SecretKey",
    "Sentence",
    "UrlPath",
    "is_dns_label",
]

DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""RFC 1123 label, without its bound."""

_LABEL_LENGTH: Final = 63


def is_dns_label(name: str) -> bool:
    """Whether a name is an RFC 1123 label of at most 63 characters."""
    return len(name) <= _LABEL_LENGTH and re.fullmatch(DNS_LABEL, name, re.ASCII) is not None


Name = Annotated[
    str,
    Text(
        63,
        pattern=DNS_LABEL,
        remedy="write a name of at most 63 lower-case letters, digits and hyphens, such as code-model-v2",
    ),
]
"""RFC 1123 label: names of consumers, metrics and the like."""

RuleName = Name
"""Name of a rule, unique in its route; logs, metrics and errors use it."""

ObjectName = Annotated[
    str,
    Text(
        253,
        pattern="[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        remedy="write the name of an object: lower-case letters, digits, hyphens and dots, such as corp-ca",
    ),
]
"""RFC 1123 subdomain: name of a Secret, ConfigMap or Service."""

SecretKey = Annotated[
    str,
    Text(
        253,
        pattern="[-._a-zA-Z0-9]+",
        remedy="write a key of the object's data: letters, digits, '-', '_' and '.', such as token",
    ),
]
"""Key in a Secret's or ConfigMap's data."""

_REFERENCE_REMEDY: Final = (
    "write the name of a ModelBackend, or namespace/name for one in another namespace that consents, "
    "such as code-model-v2 or models/code-model-v2"
)

_REFERENCE: Final = "[-/a-z0-9]+"
"""Coarse, since CEL has a budget and a route thousands of these; what else is wrong is simply not found."""

BackendReference = Annotated[str, Text(127, pattern=_REFERENCE, remedy=_REFERENCE_REMEDY)]
"""`name` or `namespace/name` of a ModelBackend."""

_ListedBackend = Annotated[str, Text(127, pattern=_REFERENCE, remedy=_REFERENCE_REMEDY, cheap=True)]

BackendList = Annotated[tuple[_ListedBackend, ...], Field(max_length=1024), Unique()]
"""Up to 1,024 different `name` or `namespace/name` of ModelBackends."""

ModelName = Annotated[
    str,
    Text(
        256,
        pattern="[!-~]+",
        remedy="write a model's name without spaces, such as gpt-4o or dialog_pro",
        cheap=True,
    ),
]
"""Name of a model as a client or a provider writes it."""

HeaderName = Annotated[
    str,
    Text(
        128,
        pattern="[-!#$%&*+.^_`|~0-9A-Za-z]+",
        remedy="write the name of an HTTP header, such as x-team (letters, digits and hyphens)",
        cheap=True,
    ),
]
"""RFC 9110 §5.1 field name."""

HostName = Annotated[
    str,
    Text(
        253,
        pattern="[a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?",
        remedy="write a host name, such as api.example.com",
    ),
]
"""Name of a host, without scheme and port."""

_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""1 to 65535."""

_PATH: Final = "[!$%&-;=@A-Z_a-z~]"
"""What a path may hold (RFC 3986, section 3.3); `&-;` are & ' ( ) * + , - . / digits : and ;."""

HttpUrl = Annotated[
    str,
    Text(
        1024,
        pattern=rf"https?://([-._a-zA-Z0-9]+|\[[0-9a-fA-F:.]+\])(:{_PORT})?(/{_PATH}*)?",
        remedy="write http:// or https://, a host, and perhaps a port and a path, such as "
        "https://api.example.com/v1 (no user, query or fragment)",
    ),
]
"""Absolute http or https URL without user, query and fragment."""

UrlPath = Annotated[
    str,
    Text(
        1024,
        pattern=f"/{_PATH}*",
        remedy="write a path that starts with '/', such as /v1 (no spaces, query or fragment)",
    ),
]
"""Absolute path of a URL."""

LabelKey = Annotated[
    str,
    Text(
        317,
        pattern="([a-z0-9][-a-z0-9.]{0,252}/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?",
        remedy="write a label's key, such as team or example.com/team",
    ),
]
"""Kubernetes label key."""

LabelValue = Annotated[
    str,
    Text(
        63,
        minimum=0,
        pattern="([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?",
        remedy="write a label's value: at most 63 letters, digits, '-', '_' and '.'",
    ),
]
"""Kubernetes label value."""

Revision = Annotated[
    str,
    Text(
        63,
        pattern=DNS_LABEL,
        remedy="write a revision's name as status.revision shows it, such as 5f0c2b91ad",
    ),
]
"""Name of a revision of a route."""

Sentence = Annotated[str, Text(1024)]
"""Free text without a pattern."""

Flag = Annotated[bool, Field(strict=True)]
"""true or false, and nothing that only looks like it."""

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
"""TCP port."""

Percent = Annotated[int, Field(strict=True, ge=1, le=100)]
"""Whole percent, 1 to 100."""
