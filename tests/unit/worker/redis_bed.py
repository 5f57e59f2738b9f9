"""A real redis-server on a port of its own, with an append-only file, to be killed and started again."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest
from free_ports import free_port
from redis import Redis
from redis.exceptions import RedisError

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


def need_redis():
    """Skips only where nobody can install it: CI has the package (tests/cluster/install-packages)."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            raise AssertionError("redis-server is missing: tests/cluster/install-packages installs it")
        pytest.skip("redis-server is not installed: apt-get install redis-server")


class RedisBed:
    def __init__(self, folder, password="s3cret"):  # noqa: S107
        need_redis()
        self.folder = folder
        self.password = password
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.password_file = folder / "redis-password"
        self.password_file.write_text(password + "\n")
        self._process = None

    def start(self):
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        command += ["--requirepass", self.password, "--loglevel", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError("redis-server did not start")
            time.sleep(0.02)
        return self

    def _answers(self):
        with contextlib.suppress(RedisError), Redis(port=self.port, password=self.password) as client:
            return client.ping()
        return False

    def client(self):
        return Redis(host="127.0.0.1", port=self.port, password=self.password)

    def stop(self, number=signal.SIGTERM):
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
        self._process = None

    def kill(self):
        self.stop(signal.SIGKILL)
