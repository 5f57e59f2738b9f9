"""When a consumer's key is to be replaced, as an annotation of its Secret asks for (pure)."""

from datetime import datetime

from moltbot_operator.constants import ANNOTATION_ROTATE_AT
from moltbot_operator.errors import InvalidInput
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.rotation.timing import moment_of

__all__ = ["asked_for"]


def asked_for(secret: Manifest) -> datetime | None:
    """The time; None where there is no annotation. InvalidInput for what is no time, without what it says."""
    meta = secret["metadata"]
    text = (meta.get("annotations") or {}).get(ANNOTATION_ROTATE_AT)
    if text is None:
        return None
    found = moment_of(text)
    if found is None:
        place = f"{meta['namespace']} {meta['name']}"
        raise InvalidInput(
            f"annotation {ANNOTATION_ROTATE_AT} of Secret {meta['namespace']}/{meta['name']} is no time and "
            f"counts as not there: write one as 2026-01-31T08:00:00Z, or take it away by "
            f"kubectl annotate secret -n {place} {ANNOTATION_ROTATE_AT}-"
        )
    return found
