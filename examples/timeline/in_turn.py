"""Breakfast, one thing after the other: the toaster is switched on when the coffee is there."""

import asyncio


async def brew_coffee():
    await asyncio.sleep(0.3)
    return "coffee"


async def toast_bread():
    await asyncio.sleep(0.2)
    return "toast"


async def breakfast():
    coffee = await brew_coffee()
    toast = await toast_bread()
    print(coffee, "and", toast)


asyncio.run(breakfast())
