"""Imported at interpreter start by asyncio_c.pth when the environment variable ASYNCIO_C is set.

ASYNCIO_C=1 is patch(), ASYNCIO_C=loop is install(), ASYNCIO_C=0 and an empty value are nothing. The .pth file is the way
up to Python 3.17, which is the last to run import lines of such files; its successor, a .start file, has no means of
costing nothing while the variable is unset.
"""

import os

_value = os.environ.get("ASYNCIO_C", "")
if _value == "loop":
    from asyncio_c import install

    install()
elif _value not in ("", "0"):
    from asyncio_c import patch

    patch()
