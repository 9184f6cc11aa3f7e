"""sleep and wait are coroutine functions, whoever asks."""

import asyncio
import copy
import functools
import inspect
import pickle
import pydoc
import warnings
import weakref
from unittest import mock

import pytest


@pytest.fixture(params=["sleep", "wait"])
def function(impl, request):
    return getattr(impl, request.param)


def test_is_a_coroutine_function(function):
    assert inspect.iscoroutinefunction(function)
    assert inspect.iscoroutinefunction(functools.partial(function, 1))
    assert inspect.isroutine(function)
    assert not inspect.isgeneratorfunction(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.14
        assert asyncio.iscoroutinefunction(function)


def test_has_the_signature_of_asyncios_own(impl):
    assert str(inspect.signature(impl.sleep)) == "(delay, result=None)"
    assert str(inspect.signature(impl.wait)) == "(fs, *, timeout=None, return_when='ALL_COMPLETED')"


def test_says_what_it_is(function):
    name = function.__name__
    assert function.__qualname__ == name
    assert repr(function) == f"<function {name} at {id(function):#x}>"
    assert f"async {name}(" in pydoc.plain(pydoc.render_doc(function))
    assert "asyncio documentation" in function.__doc__ or function.__module__ == "asyncio.tasks"


def test_is_copied_and_pickled_by_name(function):
    assert copy.deepcopy(function) is copy.copy(function) is function
    assert pickle.loads(pickle.dumps(function)) is function


def test_takes_attributes_and_weak_references(function):
    function.mark = "set"
    assert weakref.ref(function)() is function
    assert function.mark == "set"
    del function.mark
    assert not hasattr(function, "mark")


def test_becomes_a_method_in_a_class(impl):
    class Number(float):
        sleep = impl.sleep

    number = Number(0)
    coroutine = number.sleep("result")
    assert inspect.ismethod(number.sleep) and Number.sleep is impl.sleep
    with pytest.raises(StopIteration) as stop:
        while True:
            coroutine.send(None)
    assert stop.value.value == "result"


@pytest.mark.parametrize("autospec", [False, True])
def test_a_mock_of_it_can_be_awaited(impl, loop, autospec):
    class Module:
        sleep = staticmethod(impl.sleep)

    options = {"autospec": True} if autospec else {}
    with mock.patch.object(Module, "sleep", **options) as mocked:
        mocked.return_value = "woken"

        async def main():
            return await Module.sleep(3600)

        assert loop.run_until_complete(main()) == "woken"
    mocked.assert_awaited_once_with(3600)
