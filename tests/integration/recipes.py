"""The recipes of README.md's section "Use it with", as they stand there."""

import re
import textwrap

from .support import ROOT


def read():
    """Return {bold name: [its indented blocks, dedented]}, in the order of the page."""
    section = (ROOT / "README.md").read_text().split("\n## Use it with\n")[1].split("\n## ")[0]
    recipes = {}
    for part in re.split(r"^\*\*(?=[\w-]+\*\*)", section, flags=re.MULTILINE)[1:]:
        name, text = part.split("**", 1)
        blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))*)+", text, flags=re.MULTILINE)
        recipes[name] = [textwrap.dedent(block) for block in blocks]
    return recipes


def for_stock(block):
    """Return what a block would be without this package: the recipe must do the same there."""
    return block.replace("ASYNCIO_C=1 ", "").replace("asyncio_c", "asyncio")


RECIPES = read()


def blocks(name, package):
    """Return the blocks of a recipe, for the loop of a package: asyncio_c, or asyncio."""
    return RECIPES[name] if package == "asyncio_c" else [for_stock(block) for block in RECIPES[name]]
