"""The record of every model call."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Text, Unique
from moltbot_operator.api.model import ApiModel

__all__ = ["Audit", "AuditDestination"]


class AuditDestination(StrEnum):
    """Where records go."""

    STDOUT = "Stdout"


FieldName = Annotated[
    str,
    Text(
        64,
        pattern="[a-z][a-z0-9_]*",
        remedy="write a field of the access log, such as backend or duration_ms",
    ),
]


class Audit(ApiModel):
    """The record of every model call; never holds credentials or content."""

    destination: AuditDestination = AuditDestination.STDOUT
    """Stdout: one JSON object a line on the gateway's standard output."""
    fields: Annotated[tuple[FieldName, ...], Field(max_length=64), Unique()] = ()
    """Fields to write; empty: all."""
    redact: Annotated[tuple[FieldName, ...], Field(max_length=64), Unique()] = ()
    """Fields to replace by a keyed hash, such as consumer."""
