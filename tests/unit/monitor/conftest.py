"""A folder for the sockets of the monitor, and this process as one that can be looked at."""

import os

import pytest

from asyncio_c import monitor


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch):
    """XDG_RUNTIME_DIR of this test and the processes that it starts, with a path too long for a socket's address."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    return folder


@pytest.fixture
def sockets(runtime_folder):
    """Return the names of the sockets that are there."""

    def sockets():
        folder = runtime_folder / "asyncio_c"
        return sorted(os.listdir(folder)) if folder.exists() else []

    return sockets


@pytest.fixture
def served():
    """This process serves."""
    with monitor.serve() as serving:
        yield serving
