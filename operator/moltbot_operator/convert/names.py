"""Names that Kubernetes takes, made from names and patterns that it doesn't."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from moltbot_operator.api.fields import is_dns_label

__all__ = ["label", "unique_labels"]

_LONGEST = 63


def label(text: str, otherwise: str) -> str:
    """An RFC 1123 label like the text (of `dialog_pro`: `dialog-pro`), `otherwise` if nothing is left."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return cleaned[:_LONGEST].strip("-") or otherwise


def unique_labels(texts: Iterable[str], otherwise: str, taken: Iterable[str] = ()) -> list[str]:
    """A label for each text, in order, all different and none of `taken`.

    A text that is a label already keeps its own; of others that would be equal, later ones get a number.
    """
    texts = list(texts)
    used = set(taken)
    kept = {text for text in texts if is_dns_label(text)} - used
    reserved = set(kept)
    labels = []
    for text in texts:
        if text in kept:
            kept.remove(text)
            labels.append(text)
            continue
        name = _free(label(text, otherwise), used | reserved)
        used.add(name)
        labels.append(name)
    return labels


def _free(base: str, used: AbstractSet[str]) -> str:
    """The label itself, or with the first number from 2 that makes it different."""
    name, number = base, 1
    while name in used:
        number += 1
        suffix = f"-{number}"
        name = base[: _LONGEST - len(suffix)].rstrip("-") + suffix
    return name
