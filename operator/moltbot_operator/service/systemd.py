"""A unit of systemd. Pure.

Sources: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from typing import Final

from moltbot_operator.service.wanted import Service

__all__ = ["quoted", "unit"]

_PRIVILEGED: Final = 1024
"""Ports below need a capability."""

_ANY: Final = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures=native",
    "UMask=0077",
)
"""What users' managers can enforce too. Not MemoryDenyWriteExecute: Envoy compiles Lua as it runs."""

_SYSTEM: Final = (
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service pidfd_getfd",
    "SystemCallErrorNumber=EPERM",
)
"""What only the system's manager can."""


def unit(service: Service) -> str:
    """The text of `<name>.service`."""
    lines = [
        "[Unit]",
        "Description=MoltBot gateway (moltbot serve)",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={' '.join(quoted(word) for word in service.command)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartSec=1s",
        "TimeoutStartSec=90s",
        "TimeoutStopSec=30s",
        "KillMode=mixed",
        "StateDirectory=moltbot",
        "StateDirectoryMode=0700",
        f"RuntimeDirectory={service.name}",
        "RuntimeDirectoryMode=0700",
        "LimitNOFILE=65536",
        *_ANY,
        *(_for_system(service) if service.system else ()),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if service.system else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _for_system(service: Service) -> list[str]:
    capability = "CAP_NET_BIND_SERVICE" if 0 < service.port < _PRIVILEGED else ""
    return [
        f"User={service.account}",
        f"CapabilityBoundingSet={capability}",
        *([f"AmbientCapabilities={capability}"] if capability else []),
        *_SYSTEM,
    ]


def quoted(word: str) -> str:
    """One argument as systemd reads it: no specifier, no variable, no second word comes of it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if plain != word or not word or set(word) & set(" \t'") else word
