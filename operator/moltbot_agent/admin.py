"""Envoy's admin interface.

Over the standard library alone: the preStop command uses it too and must start fast.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin
"""

import http.client
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from moltbot_agent.errors import AdminUnavailable

__all__ = ["Admin", "Server"]


@dataclass(frozen=True)
class Server:
    """What `/server_info` tells."""

    state: str
    """LIVE, DRAINING, PRE_INITIALIZING or INITIALIZING."""
    version: str
    """e.g. `1.40.0`."""
    revision: str | None
    """`revision` in the metadata of the node that Envoy was started with."""
    uptime_s: int | None = None
    """Whole seconds since this process started."""

    @property
    def live(self) -> bool:
        """Whether it serves and is not draining."""
        return self.state == "LIVE"


@dataclass(frozen=True)
class Admin:
    """A client of one Envoy; every call blocks for at most `timeout` a read and raises AdminUnavailable."""

    port: int
    host: str = "127.0.0.1"
    timeout: timedelta = timedelta(seconds=2)

    def call(self, method: str, path: str) -> str:
        """The body of a 200 answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout.total_seconds())
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AdminUnavailable(
                f"Envoy's admin interface at {self.host}:{self.port} does not answer {method} {path}: "
                f"{type(error).__name__}"
            ) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise AdminUnavailable(f"Envoy's admin interface answered {response.status} to {method} {path}")
        return body.decode(errors="replace")

    def server(self) -> Server:
        """State, version and revision."""
        info = self._json("GET", "/server_info")
        version = str(info.get("version", ""))
        fields = version.split("/")  # "<commit>/1.40.0/Clean/RELEASE/BoringSSL"
        metadata = info.get("node", {}).get("metadata", {})
        revision = metadata.get("revision")
        return Server(
            state=str(info.get("state", "UNKNOWN")),
            version=fields[1] if len(fields) > 1 else version,
            revision=None if revision is None else str(revision),
            uptime_s=_seconds(str(info.get("uptime_current_epoch", ""))),
        )

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges in use whose name matches `pattern` (RE2), by Envoy's own names."""
        answer = self._json("GET", f"/stats?format=json&usedonly&filter={quote(pattern, safe='')}")
        stats = answer.get("stats", [])
        return {stat["name"]: int(stat["value"]) for stat in stats if isinstance(stat.get("value"), int)}

    def prometheus(self, pattern: str) -> str:
        """Statistics in use whose name matches `pattern`, in Prometheus' text format."""
        return self.call("GET", f"/stats?format=prometheus&usedonly&filter={quote(pattern, safe='')}")

    def fail_health_check(self) -> None:
        """Make readiness fail and ask clients to leave."""
        self.call("POST", "/healthcheck/fail")

    def drain_listeners(self) -> None:
        """Drain listeners gracefully without ending the process."""
        self.call("POST", "/drain_listeners?graceful&skip_exit")

    def _json(self, method: str, path: str) -> dict[str, Any]:
        try:
            answer = json.loads(self.call(method, path))
        except ValueError as error:
            message = f"Envoy's admin interface did not answer {path} with JSON"
            raise AdminUnavailable(message) from error
        return answer if isinstance(answer, dict) else {}


def _seconds(duration: str) -> int | None:
    """`90s` (google.protobuf.Duration in JSON) in whole seconds; None where it is none."""
    whole = duration.removesuffix("s").partition(".")[0]
    return int(whole) if whole.isdecimal() else None
