"""`moltbot convert`: between models.config.json and manifests, both ways."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from moltbot_operator.errors import InvalidInput
from moltbot_operator.inputs import read_text

__all__ = ["convert"]

_STDIO: Final = "-"


def convert(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="A models.config.json, or - for standard input; with --back manifests, files or folders.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE|-",
            help="Folder (with --back: file) to write to, or - to print.",
        ),
    ] = _STDIO,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace to put into the manifests.")
    ] = None,
    back: Annotated[
        bool,
        typer.Option("--back", help="From a MoltBotRoute and its ModelBackends to a models.config.json."),
    ] = False,
) -> None:
    """Turn a models.config.json into ModelBackend and MoltBotRoute manifests, or back.

    Exit codes: 0 written, 1 the files can't be converted (each line says where and what to write), 2 wrong
    usage.
    """
    if back:
        if namespace is not None:
            raise typer.BadParameter("a models.config.json has no namespaces: leave it out", param_hint="-n")
        _write_text(output, _config([Path(each) for each in files]))
        return
    if len(files) > 1:
        raise typer.BadParameter("give one models.config.json, or --back with manifests", param_hint="FILE")
    manifests = _manifests(files[0], namespace)
    if output == _STDIO:
        typer.echo("---\n".join(text.removeprefix("---\n") for text in manifests.values()), nl=False)
        return
    folder = Path(output)
    _write(folder, manifests)
    names = "\n  ".join(manifests)
    typer.echo(f"{folder}:\n  {names}\nApply them with: kubectl apply -f {folder}", err=True)


def _manifests(file: str, namespace: str | None) -> dict[str, str]:
    """Names of files and texts; a wrong file is told with line and column."""
    from moltbot_operator import convert as converting  # noqa: PLC0415 - the other commands start faster

    text = sys.stdin.read() if file == _STDIO else read_text(Path(file))
    source = "standard input" if file == _STDIO else file
    try:
        return converting.convert_text(text, source=source, namespace=namespace)
    except InvalidInput as error:
        from moltbot_operator.check.reading import placed  # noqa: PLC0415

        raise InvalidInput(placed(text, source, error)) from error


def _config(files: list[Path]) -> str:
    from moltbot_operator.check.reading import read_file  # noqa: PLC0415
    from moltbot_operator.commands.given import expanded  # noqa: PLC0415
    from moltbot_operator.convert import to_config  # noqa: PLC0415

    reads = [read_file(file, named=file in files) for file in expanded(files)]
    faults = [finding for found in reads for finding in found.findings]
    if faults:
        raise InvalidInput("\n".join(f"{each.where}: {each.message}" for each in faults))
    kinds = ("MoltBotRoute", "ModelBackend")
    objects = [each for found in reads for each in found.values if each["kind"] in kinds]
    return json.dumps(to_config(objects), indent=2, ensure_ascii=False) + "\n"


def _write_text(output: str, text: str) -> None:
    if output == _STDIO:
        typer.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output}: can't be written: {error}; give another file with -o") from error


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{folder}: can't be written: {error}; give another folder with -o") from error
