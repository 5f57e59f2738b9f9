"""The certificate that clients are shown (delivered as a file by the agent)."""

from typing import Final

from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.ir import Gateway

__all__ = ["CERTIFICATE", "certificate_path", "shown_certificate"]

CERTIFICATE: Final = "certificate"
"""SDS resource name, and the pair's own folder below the mount."""


def certificate_path(run: str) -> str:
    """The file that the agent writes and Envoy watches."""
    return f"{run}/sds/{CERTIFICATE}.json"


def shown_certificate(gateway: Gateway) -> Json:
    """`transport_socket` of the public listener's filter chain; empty for plain HTTP."""
    if gateway.certificate is None:
        return {}
    source = {"path": certificate_path(gateway.files.run)}
    secret = {
        "name": CERTIFICATE,
        "sds_config": {"path_config_source": source, "resource_api_version": "V3"},
    }
    socket = extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [secret],
        },
    )
    return {"transport_socket": socket, "transport_socket_connect_timeout": "10s"}
