"""The manager of the seed design: a pool of Node workers, a queue by priority in memory, and every
message of a worker passed on to all clients. Written from the protocol's description.

usage: python3 manager.py PORT WORKERS
"""

import asyncio
import heapq
import itertools
import json
import os
import sys

import websockets

HERE = os.path.dirname(os.path.abspath(__file__))


class Manager:
    def __init__(self):
        self.clients = set()
        self.queue = []
        self.numbers = itertools.count()
        self.idle = []

    async def client(self, socket):
        self.clients.add(socket)
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "execute_command":
                    place = (-message.get("priority", 5), next(self.numbers), text)
                    heapq.heappush(self.queue, place)
                    await self.assign()
        finally:
            self.clients.discard(socket)

    async def assign(self):
        while self.queue and self.idle:
            worker = self.idle.pop()
            _, _, text = heapq.heappop(self.queue)
            await worker.send(text)

    async def worker(self, port, name):
        script = os.path.join(HERE, "worker.mjs")
        process = await asyncio.create_subprocess_exec("node", script, str(port), name)
        try:
            while True:
                try:
                    socket = await websockets.connect(f"ws://127.0.0.1:{port}", max_size=None)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
            self.idle.append(socket)
            async for text in socket:
                # Waits for nobody: what a client does not read piles up in memory.
                websockets.broadcast(self.clients, text)
                if json.loads(text)["type"] in ("task_complete", "task_error"):
                    self.idle.append(socket)
                    await self.assign()
        finally:
            process.kill()


async def main():
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    manager = Manager()
    pool = [
        asyncio.create_task(manager.worker(port + 1 + n, f"worker-{n}")) for n in range(workers)
    ]
    while len(manager.idle) < workers:
        await asyncio.sleep(0.05)
    async with websockets.serve(manager.client, "127.0.0.1", port, max_size=None):
        print("ready", flush=True)
        # The pool ends with its parent's standard input.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.read)
    for worker in pool:
        worker.cancel()
    await asyncio.gather(*pool, return_exceptions=True)


asyncio.run(main())
