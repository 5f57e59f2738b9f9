"""The former place of :mod:`moltbot_operator.serve.files`."""

from moltbot_operator.serve.files import DataKind, Manifests, read

__all__ = ["DataKind", "Manifests", "read"]
