"""Gives an image's build what pip of this machine is set up with: where packages are, and trust."""

import configparser
import os
from pathlib import Path


def _settings() -> dict[str, str]:
    """How pip of this machine finds packages: its configuration files, then its environment."""
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]
    files += filter(None, [os.environ.get("PIP_CONFIG_FILE")])
    parser = configparser.RawConfigParser()
    parser.read(Path(file).expanduser() for file in files)
    settings = {
        key: value for name in ("global", "install") if name in parser for key, value in parser.items(name)
    }
    for key, value in os.environ.items():
        if key.startswith("PIP_") and key != "PIP_CONFIG_FILE":
            settings[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def build_volumes(scratch: Path) -> dict[str, Path]:
    """Files for the build only: place in it -> file here. None of it stays in the image."""
    settings, volumes = _settings(), {}
    bundle = settings.get("cert") or os.environ.get("SSL_CERT_FILE")
    if bundle:
        settings["cert"] = "/run/build/ca.crt"
        volumes["/run/build/ca.crt"] = Path(bundle)
    for link in settings.get("find-links", "").split():
        if Path(link).is_dir():
            volumes[link] = Path(link)
    config = scratch / "pip.conf"
    config.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in sorted(settings.items())))
    return {**volumes, "/etc/pip.conf": config}
