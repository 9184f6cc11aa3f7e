"""test.test_asyncio.test_eager_task_factory: tasks that run their first step at once, and how tasks are counted."""

from .loading import bind

C_TASK = ["CEagerTaskFactoryLoopTests", "NonEagerCTaskTests", "EagerCTaskTests"]
PURE_PYTHON = ["PyEagerTaskFactoryLoopTests", "NonEagerPyTaskTests", "EagerPyTaskTests"]
FUNCTIONS = ["NonEagerTests", "EagerTests", "DefaultTaskFactoryEagerStart"]

globals().update(
    bind(
        "test_eager_task_factory",
        {
            "types": C_TASK,
            "native": C_TASK,
            "loop": [*C_TASK, *PURE_PYTHON, *FUNCTIONS],
            "patch": [*C_TASK, *FUNCTIONS],
        },
    )
)
