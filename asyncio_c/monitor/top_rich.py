"""The screen of `python -m asyncio_c top` by rich, in colours: the extra asyncio_c[top]."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import top


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def render(picture: top.Picture, order: str, height: int) -> RenderableType:
    """Return what is to be shown of a picture in so many lines."""
    parts: list[RenderableType] = [_line(picture.heading, "bold")]
    # Each loop has its two lines and the heads, and the same part of what is left.
    rows = max(1, (height - 2) // max(1, len(picture.loops)) - 4)
    for loop in picture.loops:
        table = Table(box=None, pad_edge=False, header_style="reverse", expand=True)
        for i, head in enumerate(top.HEADS):
            style = "bold" if head == order else ""
            table.add_column(
                head,
                justify="right" if 0 < i < 4 else "left",
                ratio={0: 3, 4: 4}.get(i),
                no_wrap=True,
                overflow="ellipsis",
                style=style,
            )
        for row in loop.sorted(order)[:rows]:
            style = "red" if row.share >= 0.5 else "yellow" if row.share >= 0.1 else ""
            table.add_row(*(Text(cell) for cell in row.cells()), style=style)
        parts += [Text(), _line(loop.heading, "cyan"), _line(loop.counters), table]
    parts.append(_line(top.KEYS, "dim"))
    return Group(*parts)


@contextlib.contextmanager
def screen() -> Iterator[Callable[[top.Picture, str], None]]:
    """Provide a function that shows a picture in place of the last one."""
    with Live(screen=True, auto_refresh=False) as live:

        def show(picture: top.Picture, order: str) -> None:
            live.update(render(picture, order, live.console.height), refresh=True)

        yield show
