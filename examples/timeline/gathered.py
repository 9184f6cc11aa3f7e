"""Breakfast by gather(): it makes the tasks, and is waited for once."""

import asyncio


async def brew_coffee():
    await asyncio.sleep(0.3)
    return "coffee"


async def toast_bread():
    await asyncio.sleep(0.2)
    return "toast"


async def breakfast():
    coffee, toast = await asyncio.gather(brew_coffee(), toast_bread())
    print(coffee, "and", toast)


asyncio.run(breakfast())
