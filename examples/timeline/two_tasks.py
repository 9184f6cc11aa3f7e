"""Breakfast by two tasks: both are under way before the first is waited for, and it takes as long as the coffee."""

import asyncio


async def brew_coffee():
    await asyncio.sleep(0.3)
    return "coffee"


async def toast_bread():
    await asyncio.sleep(0.2)
    return "toast"


async def breakfast():
    coffee = asyncio.create_task(brew_coffee())
    toast = asyncio.create_task(toast_bread())
    print(await toast, "and", await coffee)


asyncio.run(breakfast())
