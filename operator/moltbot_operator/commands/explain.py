"""`moltbot explain`: what becomes of one request, without sending it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from moltbot_operator.commands.given import FileArguments, RouteOption, assumed, manifests
from moltbot_operator.commands.output import Format, Output, print_json
from moltbot_operator.errors import InvalidInput

__all__ = ["explain"]


def explain(  # noqa: PLR0917 - typer's options
    files: FileArguments,
    path: Annotated[
        str, typer.Option(metavar="PATH", help="The request's path, with its query.")
    ] = "/v1/chat/completions",
    model: Annotated[str | None, typer.Option(help="What the client writes as model.")] = None,
    method: Annotated[str, typer.Option(help="The request's method.")] = "POST",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header; may be given several times."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Dialog, Code, Multimodal or Embedding, as the header x-moltbot-task.")
    ] = None,
    consumer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose key or token comes with the request.")
    ] = None,
    body: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The body, if it is not to be a short dialog with the model."),
    ] = None,
    route: RouteOption = None,
    output: Output = Format.TEXT,
) -> None:
    """Tell which rule takes a request and why, who answers it with what chance, and what happens on failures.

    Nothing is sent. Secrets and ConfigMaps that are in none of the files are taken as present.
    Exit codes: 0 told, 1 the files can't be used, 2 wrong usage.
    """
    from moltbot_operator.compile.plan import plan  # noqa: PLC0415 - the other commands start faster
    from moltbot_operator.explain import Request, chat_body  # noqa: PLC0415
    from moltbot_operator.explain import explain as explained  # noqa: PLC0415
    from moltbot_operator.explain.document import document  # noqa: PLC0415
    from moltbot_operator.explain.text import text  # noqa: PLC0415

    if not path.startswith("/") or not path.isascii():
        raise typer.BadParameter(f"{path!r}: a path begins with / and has ASCII only", param_hint="--path")
    headers = dict(_pair(each) for each in header or ())
    if task is not None:
        headers["x-moltbot-task"] = task
    if body is not None and model is not None:
        raise typer.BadParameter("the body names the model: leave --model out", param_hint="--body")
    chat = chat_body(model) if method.upper() not in {"GET", "HEAD", "DELETE"} else None
    content = chat if body is None else _text(body)
    sources, absent = assumed(manifests(files), route)
    gateway = plan(sources).gateway
    request = Request(path, method.upper(), headers, content, consumer)
    told = document(gateway, explained(gateway, request))
    if told["request"]["model"] is None and body is None:
        told["request"]["model"] = model
    told["assumed"] = [each.message for each in absent]
    if output is Format.JSON:
        print_json(told)
    else:
        typer.echo(text(told))


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE", param_hint="--header")
    return name, value


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file}: can't be read as JSON: {error}") from error
    return text
