"""What the demo shows: steps with their times, a spinner where there is a terminal, tables."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
WIDTH = 110
"""Columns of tables where the output is no terminal and so has no width of its own."""

if not console.is_terminal:
    console = Console(highlight=False, width=WIDTH)


@contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """One step; gives a function that says how far it is: in place, or as lines without a terminal."""
    started, last = time.monotonic(), ""

    if console.is_terminal:
        with console.status(f"{title} …") as status:
            yield lambda text: status.update(f"{title} … [dim]{text}[/dim]")
    else:
        console.print(f"  {title} …")

        def say(text: str) -> None:
            nonlocal last
            if text != last:
                console.print(f"    {text}")
                last = text

        yield say
    console.print(f"[green]✓[/green] {title} [dim]({time.monotonic() - started:.1f} s)[/dim]")


def heading(text: str) -> None:
    """The title of a part."""
    console.print(f"\n[bold]{text}[/bold]")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; columns named with a trailing # are numbers."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        shown.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
