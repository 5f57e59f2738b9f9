"""A property list of launchd. Pure.

Source: launchd.plist(5).
"""

import plistlib
from pathlib import Path

from moltbot_operator.service.wanted import Service

__all__ = ["label", "plist"]


def label(service: Service) -> str:
    """Its name in launchd."""
    return f"io.moltbot.{service.name}"


def plist(service: Service, logs: Path, path: str) -> str:
    """The text of `<label>.plist`; output goes to files in `logs`, `path` is where programs are found."""
    content = {
        "Label": label(service),
        "ProgramArguments": list(service.command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 1,
        "ExitTimeOut": 30,
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "EnvironmentVariables": {"PATH": path},
        "StandardOutPath": str(logs / f"{service.name}.calls.log"),
        "StandardErrorPath": str(logs / f"{service.name}.log"),
        "SoftResourceLimits": {"NumberOfFiles": 65536},
        **({"UserName": service.account} if service.system and service.account else {}),
    }
    return plistlib.dumps(content).decode()
