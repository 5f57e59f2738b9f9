"""`moltbot service`: `moltbot serve` kept running by the system, systemd on Linux and launchd on macOS."""
