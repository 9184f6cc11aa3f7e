"""The fixtures of the unit tests (see tests/unit/conftest.py), and what these tests need beside them."""

import socket

import pytest
from unit.conftest import (  # noqa: F401
    collections_on_demand,
    garbage_of_its_own,
    impl,
    loop,
    native,
    no_loop_left_running,
    ours,
    stock,
    virtual,
)


@pytest.fixture
def pair():
    """Two connected sockets that do not block."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right
