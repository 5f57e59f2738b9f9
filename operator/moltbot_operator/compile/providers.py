"""Providers as OpenTelemetry calls them."""

from typing import Final

from moltbot_operator.api import Provider

__all__ = ["provider_name"]

_NAMES: Final = {
    Provider.AZURE_OPENAI: "azure.ai.openai",
    Provider.GEMINI: "gcp.gemini",
    Provider.MISTRAL: "mistral_ai",
}
"""Where it is not just lower case (https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/)."""


def provider_name(provider: Provider) -> str:
    """`gen_ai.provider.name`."""
    return _NAMES.get(provider, provider.lower())
