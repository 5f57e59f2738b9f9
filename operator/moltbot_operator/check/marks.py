"""Where in a file something stands: YAML as a tree whose parts know their place. JSON is YAML too."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from moltbot_operator.positions import only_yaml_errors

__all__ = ["Document", "Position", "documents"]

_STEP: Final = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Position:
    """Line and column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """One document of a file: its value, and the tree that knows where its parts stand."""

    value: Any
    node: yaml.Node

    def at(self, path: str) -> Position:
        """Where the field of a path stands, or else the deepest of its parents that is there.

        Paths are those of messages: `spec.rules[0].candidates`, `spec.rules[tech].failover.retryOn`, where a
        name in brackets is that of a list's item. A name of a field may have dots.
        """
        return _position(_found(self.node, None, path.strip(".")))


def documents(text: str) -> Iterator[Document]:
    """The documents of a YAML stream; yaml.YAMLError where it is none."""
    loader = _Loader(text.replace("\t", " ") if text.lstrip().startswith("{") else text)  # JSON may have tabs
    try:
        while True:
            with only_yaml_errors():
                if not loader.check_node():
                    return
                node = loader.get_node()
                value = None if node is None else loader.construct_document(node)
            if node is not None and value is not None:
                yield Document(value, node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a date is text, not a time."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _found(node: yaml.Node, key: yaml.Node | None, path: str) -> yaml.Node:
    """The key of the field that the path leads to, or the item; `key` is that of `node`."""
    path = path.lstrip(".")
    here = key or node
    if not path:
        return here
    if isinstance(node, yaml.SequenceNode) and (step := _STEP.match(path)) is not None:
        item = _item(node, step[1])
        return here if item is None else _found(item, None, path[step.end() :])
    if isinstance(node, yaml.MappingNode):
        fitting = [pair for pair in node.value if _begins(path, pair[0])]
        if fitting:
            name, value = max(fitting, key=lambda pair: len(pair[0].value))
            return _found(value, name, path[len(name.value) :])
    return here


def _begins(path: str, name: yaml.Node) -> bool:
    written = str(name.value)
    return path.startswith(written) and path[len(written) : len(written) + 1] in {"", ".", "[", ":"}


def _item(node: yaml.SequenceNode, step: str) -> yaml.Node | None:
    if step.isdecimal():
        return node.value[int(step)] if int(step) < len(node.value) else None
    for item in node.value:
        named = item.value if isinstance(item, yaml.MappingNode) else ()
        if any(name.value == "name" and value.value == step for name, value in named):
            found: yaml.Node = item
            return found
    return None
