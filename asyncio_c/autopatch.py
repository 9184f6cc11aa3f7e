"""Imported at interpreter start by asyncio_c.pth when the environment variable ASYNCIO_C asks for anything.

ASYNCIO_C=1 is patch(), ASYNCIO_C=loop is install(), ASYNCIO_C=0 and an empty value are nothing; what else people write for
yes and no is understood, and anything else is nothing, with a RuntimeWarning. asyncio_c.pth knows what is nothing, too, so
that then nothing is imported. The .pth file is the way up to Python 3.17, which is the last to run import lines of such files; its successor, a .start file, has no means of
costing nothing while the variable is unset.
"""

import os

_value = os.environ.get("ASYNCIO_C", "").lower()
if _value == "loop":
    from asyncio_c import install

    install()
elif _value in ("1", "on", "patch", "true", "yes"):
    from asyncio_c import patch

    patch()
elif _value not in ("", "0", "off", "false", "no"):
    import warnings

    warnings.warn(
        f"ASYNCIO_C={os.environ['ASYNCIO_C']} is none of 1, loop and 0: asyncio stays as it is",
        RuntimeWarning,
        stacklevel=2,
    )
