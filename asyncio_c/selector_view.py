"""loop._selector of a loop that nobody has brought a selector for: a view of the C poller that can become a real one.

As long as it is only looked at (get_key(), get_map(), fileno()) it tells what the C poller watches, as asyncio's selector
would. When it is to wait or to change, or anything is set on it (virtual clocks replace its select()), it becomes, for good,
what it says it is: an object of the class in the selectors module, with everything registered, by which the loop waits from
then on. src/core/selector.c tells what that means for the loop.
"""

from __future__ import annotations

import functools
import operator
import selectors
import weakref
from asyncio import events
from typing import Any


def _stock(name: str) -> Any:
    """Return a class of the selectors module, or None where it is not there, or not the module's own any more."""
    found = getattr(selectors, name, None)
    return found if found is not None and found.__module__ == selectors.__name__ else None


# By what the C poller is. When asyncio_c is imported after gevent has patched the module, they are gone.
_EPOLL, _POLL = _stock("EpollSelector"), _stock("PollSelector")
_DEFAULT = _stock("DefaultSelector")
# What the loop asks of a selector.
_METHODS = operator.attrgetter("register", "unregister", "modify", "select")
_DEFAULT_METHODS = _DEFAULT and _METHODS(_DEFAULT)


def replaced_default() -> Any:
    """Return a new selectors.DefaultSelector() if that is not the module's own choice any more, as it was; else None."""
    default = selectors.DefaultSelector
    return None if default is _DEFAULT and _METHODS(default) == _DEFAULT_METHODS else default()


def of(loop: Any) -> Any:
    """Return the view of a loop."""
    poller, _ = loop._own_descriptors()
    return (_VIEWS["EpollSelector"] if poller >= 0 else _VIEWS["PollSelector"])(loop)


def make_real(selector: Any) -> None:
    """Make a selector out of a view, by which the loop waits from now on; does nothing to a selector."""
    if not isinstance(selector, _View):
        return
    view, reference = type(selector), selector.__dict__.pop("_loop")
    object.__setattr__(selector, "__class__", view._stock)
    try:
        view._stock.__init__(selector)
        loop = reference()
        if loop is not None and not loop._closed:
            loop._wait_by(selector)
    except BaseException:
        # Out of descriptors or memory: all is as it was.
        if "_selector" in selector.__dict__:
            selector.close()
        selector.__dict__.clear()
        selector.__dict__["_loop"] = reference
        object.__setattr__(selector, "__class__", view)
        raise


class _View:
    """What the views of both pollers have in common: the methods of selectors that only look, in terms of the C poller."""

    _stock: Any

    def __init__(self, loop: Any) -> None:
        self.__dict__["_loop"] = weakref.ref(loop)

    def _open_loop(self) -> Any:
        loop = self.__dict__["_loop"]()
        return None if loop is None or loop._closed else loop

    @property
    def _fd_to_key(self) -> dict[int, selectors.SelectorKey]:
        loop = self._open_loop()
        if loop is None:
            return {}
        keys = [selectors.SelectorKey(*fields) for fields in loop._watches()]
        if loop._signal_sockets is None:
            # In asyncio the pair of sockets that wakes the loop is there from the beginning. Here it is another descriptor.
            _, waker = loop._own_descriptors()
            handle = events.Handle(loop._read_from_self, (), loop)
            keys.insert(0, selectors.SelectorKey(waker, waker, selectors.EVENT_READ, (handle, None)))
        return {key.fd: key for key in keys}

    @property
    def _map(self) -> Any:
        return selectors._SelectorMapping(self) if self._open_loop() else None  # type: ignore[attr-defined]

    def get_key(self, fileobj: Any) -> Any:
        loop = self._open_loop()
        fields = loop._watched(fileobj) if loop is not None and isinstance(fileobj, int) else None
        return selectors.SelectorKey(*fields) if fields else self._stock.get_key(self, fileobj)

    def close(self) -> None:
        """Do nothing: the poller is the loop's to close."""

    def __setattr__(self, name: str, value: Any) -> None:
        make_real(self)
        setattr(self, name, value)

    def __delattr__(self, name: str) -> None:
        make_real(self)
        delattr(self, name)


def _made_real_first(method: Any) -> Any:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        make_real(self)
        return method(self, *args, **kwargs)  # and not the attribute: who replaced that calls this

    return call


def _view_class(stock: Any) -> Any:
    """Return a class of views that become selectors of the class `stock`."""
    names = ("register", "unregister", "modify", "select")
    body = {name: _made_real_first(getattr(stock, name)) for name in names}
    body |= {"_stock": stock, "__module__": stock.__module__}
    if hasattr(stock, "fileno"):
        body["fileno"] = _epoll_fileno
    return type(stock.__name__, (_View, stock), body)


def _epoll_fileno(self: Any) -> int:
    loop = self._open_loop()
    if loop is None:
        raise ValueError("I/O operation on closed epoll object")
    number: int = loop._own_descriptors()[0]
    return number


_VIEWS = {stock.__name__: _view_class(stock) for stock in (_EPOLL, _POLL) if stock}
