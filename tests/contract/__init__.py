"""What CPython and the libraries reach for, beyond the documented behaviour: a test for each such thing.

The docstring of a test names who relies on it. Each runs on stock asyncio too, where asyncio behaves so.
"""
