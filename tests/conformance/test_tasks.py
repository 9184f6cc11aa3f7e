"""test.test_asyncio.test_tasks: Task, sleep, gather, wait, run_coroutine_threadsafe and the registry of tasks."""

from .loading import bind

C_TASK_C_FUTURE = ["CTask_CFuture_Tests", "CTask_CFuture_SubclassTests"]
C_TASK = ["CTaskSubclass_PyFuture_Tests", "CTask_PyFuture_Tests"]
C_FUTURE = ["PyTask_CFutureSubclass_Tests", "PyTask_CFuture_Tests"]
PURE_PYTHON = ["PyTask_PyFuture_Tests", "PyTask_PyFuture_SubclassTests"]
REGISTRY = ["CTask_Future_Tests", "CIntrospectionTests", "CCurrentLoopTests"]
# These take whatever asyncio and the loop give them.
FUNCTIONS = [
    "GenericTaskTests",
    "FutureGatherTests",
    "CoroutineGatherTests",
    "RunCoroutineThreadsafeTests",
    "SleepTests",
    "CompatibilityTests",
]

globals().update(
    bind(
        "test_tasks",
        {
            "types": [*C_TASK_C_FUTURE, *C_TASK, *C_FUTURE, *REGISTRY],
            "task": C_TASK_C_FUTURE,
            "future": C_TASK_C_FUTURE,
            "native": [*C_TASK_C_FUTURE, *C_TASK, *C_FUTURE, *REGISTRY],
            "loop": [*C_TASK_C_FUTURE, *PURE_PYTHON, *REGISTRY, *FUNCTIONS],
            "patch": [*C_TASK_C_FUTURE, *REGISTRY, *FUNCTIONS],
        },
        unbound={
            "PyIntrospectionTests": "calls the pure-Python registry alone",
            "PyCurrentLoopTests": "the pure-Python Task and the pure-Python registry",
        },
    )
)
