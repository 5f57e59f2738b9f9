"""What every Kubernetes object has: metadata, conditions, label selectors."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from moltbot_operator.api.constraints import Keyed, Text
from moltbot_operator.api.fields import LabelKey, LabelValue
from moltbot_operator.api.model import ApiModel, Check, OpenModel

__all__ = [
    "Condition",
    "Conditions",
    "LabelSelector",
    "ObjectMeta",
    "SelectorOperator",
    "SelectorRequirement",
]


class ObjectMeta(OpenModel):
    """The part of an object's metadata that is used here."""

    name: str
    """Name, unique for its kind in the namespace."""
    namespace: str = "default"
    """Namespace; files without one mean `default`."""
    generation: int = 1
    """Counts changes of the spec."""
    uid: str = ""
    """Identity for the object's whole life; empty for objects from files."""
    resource_version: str = ""
    """Version of the whole object; changes with each write."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    creation_timestamp: datetime | None = None
    """When the object was made."""
    deletion_timestamp: datetime | None = None
    """Since when the object is being deleted."""
    owner_references: tuple[dict[str, Any], ...] = ()
    """Objects that this one goes with."""


class Condition(OpenModel):
    """One aspect of an object's state, as in metav1.Condition."""

    type: Annotated[str, Text(316)]
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Text(1024)]
    """Why, as one CamelCase word from a closed list."""
    message: Annotated[str, Text(32768, minimum=0)] = ""
    """Why, and what to do next, for people."""
    last_transition_time: datetime
    """When the status last changed."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Generation of the spec that this speaks of."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), Keyed(("type",))]


class SelectorOperator(StrEnum):
    """How a label relates to values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorRequirement(ApiModel):
    """One requirement on a label."""

    key: LabelKey
    """The label's key."""
    operator: SelectorOperator
    """In and NotIn compare with `values`; Exists and DoesNotExist look at the key alone."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32)] = ()
    """Values to compare with; only for In and NotIn, which need at least one."""

    checks = (
        Check(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            lambda self: (
                (self.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}) == bool(self.values)
            ),
            "list values for the operators In and NotIn, and none for Exists and DoesNotExist",
            ".values",
        ),
    )


class LabelSelector(ApiModel):
    """Selects objects by their labels; all given parts must hold; an empty selector selects everything."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that must have exactly these values."""
    match_expressions: Annotated[tuple[SelectorRequirement, ...], Field(max_length=16)] = ()
    """Further requirements on labels."""

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _meets(labels, requirement) for requirement in self.match_expressions
        )


def _meets(labels: dict[str, str], requirement: SelectorRequirement) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case SelectorOperator.IN:
            return present and labels[requirement.key] in requirement.values
        case SelectorOperator.NOT_IN:
            return not present or labels[requirement.key] not in requirement.values
        case SelectorOperator.EXISTS:
            return present
        case SelectorOperator.DOES_NOT_EXIST:
            return not present
