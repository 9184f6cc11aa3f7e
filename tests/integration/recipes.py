"""The recipes of docs/frameworks.md, as they stand there."""

import re

from .support import ROOT

PAGE = (ROOT / "docs" / "frameworks.md").read_text()


def read():
    """Return {heading: [its blocks of code]}, in the order of the page."""
    recipes = {}
    for section in PAGE.split("\n## ")[1:]:
        name, text = section.split("\n", 1)
        recipes[name] = re.findall(r"^```\w+\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return recipes


def for_stock(block):
    """Return what a block would be without this package: the recipe must do the same there."""
    return block.replace("ASYNCIO_C=1 ", "").replace("asyncio_c", "asyncio")


RECIPES = read()


def blocks(name, package):
    """Return the blocks of a recipe, for the loop of a package: asyncio_c, or asyncio."""
    return RECIPES[name] if package == "asyncio_c" else [for_stock(block) for block in RECIPES[name]]
