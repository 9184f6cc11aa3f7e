"""Types of the extension module.

To a type checker the native types are asyncio's own, generics and overloads included: that is what isinstance() says of
them, too, and so an annotation asyncio_c.Task[str] takes what create_task(), a loop or a TaskGroup of asyncio returns.
Spelled out is only what differs.
"""

import asyncio
import sys
from asyncio import Future as Future
from asyncio import Handle as Handle
from asyncio import Task as Task
from asyncio import TimerHandle as TimerHandle
from asyncio import all_tasks as all_tasks
from asyncio import create_task as create_task
from asyncio import current_task as current_task
from asyncio import gather as gather
from asyncio import sleep as sleep
from asyncio import wait as wait
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, Protocol, TypeVar

from typing_extensions import disjoint_base

_T = TypeVar("_T")

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class TaskGroup:
    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], /, **kwargs: Any
    ) -> asyncio.Task[_T]: ...

# Meant to be combined with BaseEventLoop, from which it does not derive itself.
@disjoint_base
class Loop(asyncio.BaseEventLoop):
    def _accept_all(self, arguments: tuple[Any, ...], /) -> None: ...
    def _make_socket_transport(
        self,
        sock: Any,
        protocol: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
        context: Any = None,
    ) -> Any: ...
    def _open_accepted(self, accepted: tuple[Any, ...], /) -> None: ...

# Meant to be combined with MutableMapping, from which it does not derive itself.
@disjoint_base
class FdMap:
    def __contains__(self, key: object, /) -> bool: ...
    def __delitem__(self, key: int, /) -> None: ...
    def __getitem__(self, key: int, /) -> Any: ...
    def __iter__(self) -> Iterator[int]: ...
    def __len__(self) -> int: ...
    def __setitem__(self, key: int, value: Any, /) -> None: ...
    def get(self, fd: object, default: Any = None, /) -> Any: ...

@disjoint_base
class ReadPipeTransport(asyncio.ReadTransport): ...

@disjoint_base
class WritePipeTransport(asyncio.Transport): ...

@disjoint_base
class StreamTransport(asyncio.Transport):
    def __init__(
        self,
        loop: object,
        sock: object,
        protocol: object,
        waiter: object = None,
        extra: object = None,
        server: object = None,
        context: object = None,
    ) -> None: ...

@disjoint_base
class DatagramTransport(asyncio.DatagramTransport):
    def get_write_buffer_size(self) -> int: ...
    def is_reading(self) -> bool: ...

def _after_fork() -> None: ...
def _file_identity(fd: int, /) -> tuple[int, int]: ...
def _file_is(fd: int, identity: tuple[int, int], /) -> bool: ...
def _native_tasks() -> list[asyncio.Task[Any]]: ...
def _stand_in(
    ours: type, theirs: type, names: tuple[str, ...], needs: tuple[tuple[Any, ...], ...], /
) -> None: ...

if sys.version_info >= (3, 14):
    def future_add_to_awaited_by(fut: object, waiter: object, /) -> None: ...
    def future_discard_from_awaited_by(fut: object, waiter: object, /) -> None: ...
