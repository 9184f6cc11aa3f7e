"""Types of the extension module.

To a type checker the native types are asyncio's own, generics and overloads included: that is what isinstance() says of
them, too. Spelled out is only what they have beyond.
"""

import asyncio
from asyncio import all_tasks as all_tasks
from asyncio import create_task as create_task
from asyncio import current_task as current_task
from asyncio import gather as gather
from asyncio import sleep as sleep
from asyncio import wait as wait
from typing import TypeVar

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

class Future(asyncio.Future[_T]): ...
class Task(asyncio.Task[_T_co]): ...
class Handle(asyncio.Handle): ...
class TimerHandle(asyncio.TimerHandle): ...

# Meant to be combined with BaseEventLoop, from which it does not derive itself.
class Loop(asyncio.BaseEventLoop): ...
