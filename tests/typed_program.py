"""What a program may write about asyncio_c and have a type checker accept: mypy reads this file, nothing runs it."""

from typing import assert_type

import asyncio_c as asyncio


async def number(value: int) -> int:
    return value


class Annotated:
    """Under `import asyncio_c as asyncio` an annotation takes what asyncio's own loop, TaskGroup and wait() return."""

    task: asyncio.Task[int] | None = None
    handle: asyncio.Handle | None = None
    timer: asyncio.TimerHandle | None = None
    future: asyncio.Future[str] | None = None

    async def fill(self) -> None:
        loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(number(1))
        self.task = loop.create_task(number(2))
        async with asyncio.TaskGroup() as group:
            self.task = group.create_task(number(3))
        done, _ = await asyncio.wait({self.task})
        self.task = done.pop()
        self.handle = loop.call_soon(print)
        self.timer = loop.call_later(1, print)
        self.future = loop.create_future()
        assert_type(await asyncio.gather(number(4), self.task), tuple[int, int])
        assert_type(await asyncio.sleep(0, "text"), str)
        process = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE)
        assert_type(await process.wait(), int)


def main() -> None:
    assert_type(asyncio.run(number(5), debug=True, loop_factory=asyncio.new_event_loop), int)
    assert_type(asyncio.new_event_loop(), asyncio.Loop)
    with asyncio.Runner() as runner:
        runner.run(Annotated().fill())
    # A name that is not there is an error: with __getattr__ in sight of the type checker, this comment would be one.
    asyncio.no_such_name  # type: ignore[attr-defined]
