"""What holds for all tests: none starts with asyncio patched by the environment, and none leaves it patched."""

import os
import sys

import pytest

# The tests decide for themselves what is patched; the variable's .pth has run by now.
os.environ.pop("ASYNCIO_C", None)


@pytest.fixture(autouse=True)
def nothing_left_patched():
    yield
    package = sys.modules.get("asyncio_c")
    if package is not None:
        package.uninstall()
