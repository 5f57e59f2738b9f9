"""Where in a file something is written: what a message of a wrong field needs to be found at once.

JSON is YAML here: only positions are taken from it.
"""

import contextlib
from collections.abc import Iterator, Sequence

import yaml

__all__ = ["only_yaml_errors", "place", "syntax"]


@contextlib.contextmanager
def only_yaml_errors() -> Iterator[None]:
    """What a YAML reader raises besides yaml.YAMLError becomes one: it foresees not every value and depth."""
    try:
        yield
    except RecursionError:
        raise yaml.YAMLError("parts are nested too deeply") from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise yaml.YAMLError(
            "a value does not fit its type, or is a number with too many digits: quote it if it is text"
        ) from error


def place(text: str, path: Sequence[str | int], document: int = 0) -> str:
    """`line 3 column 5: ` of the part that `path` leads to in the N-th document, or of what is nearest to it.

    Documents that are empty count too. Empty where the text can't be read.
    """
    try:
        with only_yaml_errors():
            documents = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        return ""
    if document >= len(documents) or documents[document] is None:
        return ""
    return _words(_follow(documents[document], path))


def syntax(error: yaml.YAMLError) -> str:
    """A reader's complaint in one line, with its place."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return problem if mark is None else f"{_words(mark)}{problem}"


def _follow(node: yaml.Node, path: Sequence[str | int]) -> yaml.Mark:
    """Keys lead to where the key is written, so that a wrong name is found as well as a wrong value."""
    mark = node.start_mark
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
            if found is None:
                continue  # a part that only types know, such as the kind of a union
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
    return mark


def _words(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}: "
