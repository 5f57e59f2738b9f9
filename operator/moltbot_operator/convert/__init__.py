"""models.config.json to manifests, and back.

One MoltBotRoute and one ModelBackend a model come of one file::

{"routes": [{"pattern": "^/tech/",
"candidates": [{"model": "dialog_pro", "weight": 0.7}, {"model": "dialog_max", "weight": 0.3}],
"fallback": "code_model_v2"}],
"failover": {"max_retries": 3, "backoff_strategy": "exponential"}}

The file says nothing of where models are served, so each is looked for at a Service of its own name, port
8000. A section `models` says otherwise: by model, any fields of a ModelBackend's spec, in snake_case or
camelCase, as in `"models": {"dialog_pro": {"provider": "OpenAI", "model": "gpt-4o", "auth": {...}}}`. The
file says nothing of clients either, so every client may use every model: the manifests say that in so many
words (an anonymous consumer).

Weights become whole numbers without rounding: 0.7 and 0.3 become 70 and 30; what they were multiplied by is
kept in an annotation, so that :func:`to_config` gives the same file again.
"""

from moltbot_operator.convert.back import to_config
from moltbot_operator.convert.manifests import convert, convert_text

__all__ = ["convert", "convert_text", "to_config"]
