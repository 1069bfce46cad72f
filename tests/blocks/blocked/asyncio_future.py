import asyncio
async def first(mine, other):
    await other
    mine.set_result(1)
async def main():
    loop = asyncio.get_running_loop()
    a, b = loop.create_future(), loop.create_future()
    open("blocking", "w").close()
    await asyncio.gather(first(a, b), first(b, a))
asyncio.run(main())
