"""CPython's own asyncio tests, bound to the native types and loop.

Nothing of CPython's suite is copied: test.test_asyncio of the running Python is loaded, once for each binding, and its
test cases are handed to pytest one by one as `test_tasks.py::CTask_CFuture_Tests.native::test_x`: module, class,
binding, test.

    python -m pytest tests/conformance                    every test an item of its own
    python -m pytest tests/conformance -k "native and Gather"
    python -m tests.conformance                           a table per module; survives crashes and hangs
    ASYNCIO_C_CONFORMANCE_BINDING=stock python -m ...     the same harness on asyncio's own types: proof of the harness
    python -m tests.conformance.peers                     the same tests on each event loop that is installed, and a table

    binding.py      which names of asyncio are rebound, and for how long
    loading.py      loads one module of CPython's suite under a binding, and picks its classes
    expected.py     reads expected.toml, the one list of tests that are expected to fail, each with its reason
    conftest.py     switches the binding around each test, marks the expected failures
    test_*.py       one per module of CPython's: which classes run under which binding, and which do not, and why
"""
