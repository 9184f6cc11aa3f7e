"""A FastAPI application: a store behind a lock, a stream, and work that goes on after the answer; served by uvicorn, asked by httpx.

As a server of its own it is `uvicorn --loop asyncio_c:new_event_loop fastapi_app:app`.
"""

import asyncio
import contextlib
import socket

import httpx
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import StreamingResponse


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.lock, app.state.counts, app.state.noted = asyncio.Lock(), {}, asyncio.Queue()
    yield
    print("shut down with", app.state.counts)


app = FastAPI(lifespan=lifespan)


@app.post("/counts/{name}")
async def add(name: str, by: int = 1):
    async with app.state.lock:
        before = app.state.counts.get(name, 0)
        await asyncio.sleep(0)  # without the lock, others would count here, too
        app.state.counts[name] = before + by
    return {name: app.state.counts[name]}


@app.get("/counts/{name}")
async def look(name: str, tasks: BackgroundTasks):
    if name not in app.state.counts:
        raise HTTPException(404, f"nobody counts {name}")
    tasks.add_task(app.state.noted.put, name)
    return app.state.counts[name]


@app.get("/numbers")
async def numbers(up_to: int):
    async def lines():
        for number in range(up_to):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/plain")


async def ask(address):
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post("/counts/visits") for _ in range(20)))
        print("counted:", sorted(answer.json()["visits"] for answer in answers) == list(range(1, 21)))
        print((await client.get("/counts/visits")).text, "noted:", await app.state.noted.get())
        missing = await client.get("/counts/nothing")
        print(missing.status_code, missing.json())
        async with client.stream("GET", "/numbers", params={"up_to": 5}) as answer:
            print([line async for line in answer.aiter_lines()])


async def main():
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        # The kernel queues who comes before the server is ready.
        await ask("http://{}:{}".format(*listener.getsockname()))
        server.should_exit = True


if __name__ == "__main__":
    asyncio.run(main())
