"""What a program writes into a document stands between two comments, and all else is by hand."""

from __future__ import annotations

from pathlib import Path


def replace(document: Path, name: str, text: str) -> None:
    """Put `text` between the comments `<!-- NAME: begin -->` and `<!-- NAME: end -->`, each of which has a line.

    Raises ValueError if the document does not have both, once, in this order.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    content = document.read_text()
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"{document} has no place for {name}: {begin.strip()} … {end.strip()}")
    before, _, rest = content.partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(before + begin + text + end + after)
