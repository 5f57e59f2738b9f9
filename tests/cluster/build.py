#!/usr/bin/env python3
"""Builds the test bed's binaries from their Go modules into a cache outside the clone.

Each component of versions.toml is built in a module of its own, so that their dependencies do not
fight, and lands in ``CACHE/COMPONENT-VERSION/``. A binary that is already there is used as it is;
one appears there only whole (built beside, then renamed), so a build may be stopped at any moment.

CACHE is ``${XDG_CACHE_HOME:-~/.cache}/moltbot-testbed``. Only the standard library is used: the bed
must come up before anything of the project is installed.
"""

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def cache_dir() -> Path:
    """Where binaries, images and downloads are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "moltbot-testbed"


@dataclass(frozen=True)
class Component:
    """One Go module and the commands taken from it."""

    name: str
    module: str
    version: str
    packages: tuple[str, ...] = ()
    node_packages: tuple[str, ...] = ()
    """Those that only the one-node bed needs, on Linux."""
    tool_packages: tuple[str, ...] = ()
    """Those that no bed runs, but its users do."""
    binary: str | None = None
    tags: tuple[str, ...] = ()
    staging: str | None = None
    source: str | None = None
    """Folder beside this file with a program of our own that uses the module; its binary has that name."""

    @property
    def folder(self) -> Path:
        return cache_dir() / f"{self.name}-{self.version}"

    def targets(self) -> dict[Path, str]:
        """Binary path -> import path of its main package."""
        found = {self.folder / self.source: "."} if self.source else {}
        for package in (*self.packages, *self.node_packages, *self.tool_packages):
            path = self.module if package == "." else f"{self.module}/{package}"
            name = self.binary if package == "." and self.binary else package.rsplit("/", 1)[-1]
            found[self.folder / name] = path
        return found

    def missing(self) -> dict[Path, str]:
        return {path: package for path, package in self.targets().items() if not path.exists()}


def components(node: bool = True, tools: bool = True) -> list[Component]:
    """All components, or those parts of them that a bed without a node (or tools) needs."""
    table: dict[str, dict[str, Any]] = tomllib.loads((HERE / "versions.toml").read_text())
    found = []
    for name, row in table.items():
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        found.append(Component(name=name, **fields))
    return [
        replace(
            component,
            node_packages=component.node_packages if node else (),
            tool_packages=component.tool_packages if tools else (),
        )
        for component in found
    ]


def binaries() -> dict[str, Path]:
    """Name -> path of each binary, whether it is built yet or not."""
    return {path.name: path for component in components() for path in component.targets()}


def _ldflags(component: Component) -> str:
    flags = "-s -w"
    if component.name == "kubernetes":
        major, minor, _ = component.version.lstrip("v").split(".")
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += (
                f" -X {package}.gitVersion={component.version}"
                f" -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
            )
    return flags


def _staging_replacements(component: Component, env: dict[str, str]) -> list[str]:
    """Kubernetes replaces its staging modules by folders of its own tree, which a module that
    requires it does not inherit: each is replaced by its published version instead."""
    if component.staging is None:
        return []
    listed = subprocess.run(
        ["go", "mod", "download", "-json", f"{component.module}@{component.version}"],
        env=env, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    folder = Path(json.loads(listed)["Dir"])
    replaced = [
        line.strip().removeprefix("replace ").split()[0]
        for line in (folder / "go.mod").read_text().splitlines()
        if " => ./staging/" in line
    ]
    return [f"replace {module} => {module} {component.staging}" for module in replaced]


@contextmanager
def _alone(component: Component) -> Iterator[None]:
    """One build of a component at a time on a machine: the second finds the binaries of the first."""
    component.folder.mkdir(parents=True, exist_ok=True)
    with (component.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(component: Component) -> None:
    """Builds what is missing of a component."""
    if component.missing():
        if shutil.which("go") is None:
            raise RuntimeError(f"{component.name} has to be built, and there is no `go` on PATH: install Go")
        with _alone(component):
            _build(component, component.missing())


def _build(component: Component, missing: dict[Path, str]) -> None:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    with tempfile.TemporaryDirectory(prefix="moltbot-build-") as scratch:
        lines = ["module testbed", "go 1.26", f"require {component.module} {component.version}"]
        lines += _staging_replacements(component, env)
        (Path(scratch) / "go.mod").write_text("\n".join(lines) + "\n")
        if component.source:
            shutil.copytree(HERE / component.source, scratch, dirs_exist_ok=True)
        for path, package in missing.items():
            started = time.monotonic()
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            command = ["go", "build", "-trimpath", "-ldflags", _ldflags(component), "-o", str(partial)]
            if component.tags:
                command += ["-tags", ",".join(component.tags)]
            print(f"building {path.name} {component.version} …", file=sys.stderr, flush=True)
            subprocess.run([*command, package], cwd=scratch, env=env, check=True)
            partial.rename(path)
            print(f"built {path.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api", action="store_true", help="only what the api tier needs")
    parser.add_argument("--only", help="one component of versions.toml")
    args = parser.parse_args()
    for component in components(node=not args.api, tools=not args.api):
        if args.only in (None, component.name):
            try:
                build(component)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"{component.name}: {error}; fix the cause and run this again", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
