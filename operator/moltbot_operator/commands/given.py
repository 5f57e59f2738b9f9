"""Files and folders that commands are given."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from moltbot_operator.errors import InvalidInput

if TYPE_CHECKING:
    from moltbot_operator.compile import Problem, RouteSources
    from moltbot_operator.serve.files import Manifests

__all__ = ["FileArguments", "RouteOption", "assumed", "expanded", "manifests"]

_ISSUED: Final = "CredentialNotIssued"

_ELSEWHERE: Final = frozenset({"SecretNotFound", "ConfigMapNotFound", _ISSUED})
"""What is usually not kept with manifests, and so taken as present."""

_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})

FileArguments = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE|FOLDER…", help="Manifests, or a models.config.json; of a folder all of them."
    ),
]
RouteOption = Annotated[
    str | None,
    typer.Option("--route", metavar="NAME", help="Which MoltBotRoute, where the files have several."),
]


def expanded(given: Sequence[Path]) -> list[Path]:
    """The files, and those of the folders (.yaml, .yml, .json, not hidden ones), each once, in order.

    InvalidInput for a folder without any.
    """
    return list(dict.fromkeys(file for each in given for file in _files(each)))


def manifests(given: Sequence[Path], namespace: str | None = None) -> "Manifests":
    """The objects of files and folders; those that name no namespace get this one.

    InvalidInput has a line for each fault: file, line and column, object, field, remedy.
    """
    from moltbot_operator.check import reading  # noqa: PLC0415 - commands start faster without

    reads = {file: reading.read_file(file, named=file in given) for file in expanded(given)}
    faults = [finding for found in reads.values() for finding in found.findings]
    if faults:
        raise InvalidInput("\n".join(f"{each.where}: {each.message}" for each in faults))
    return reading.manifests(reads, namespace)


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in _SUFFIXES and file.is_file() and not _hidden(file.relative_to(path))
    ]
    if not found:
        raise InvalidInput(f"{path}: the folder has no .yaml, .yml or .json: give another")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def assumed(
    manifests: "Manifests", route: str | None, *, loopback: bool = True
) -> "tuple[RouteSources, tuple[Problem, ...]]":
    """The compiler's input with Secrets and ConfigMaps taken as present that are in none of the files.

    The problems are those that were passed over so. InvalidInput where it is not clear which route is meant.
    """
    from moltbot_operator.compile import Files  # noqa: PLC0415 - commands start faster without

    sources = manifests.sources(route, {}, Files(loopback=loopback))
    found = [each.problem for each in sources.backends.values()]
    found += [each.problem for each in sources.consumers.values()]
    absent = {each: None for each in found if each is not None and each.reason in _ELSEWHERE}
    backends = {
        ref: replace(each, problem=None, rotated=each.rotated or each.problem.reason == _ISSUED)
        if each.problem is not None and each.problem in absent
        else each
        for ref, each in sources.backends.items()
    }
    consumers = {
        name: replace(each, problem=None) if each.problem in absent else each
        for name, each in sources.consumers.items()
    }
    return replace(sources, backends=backends, consumers=consumers), tuple(absent)
