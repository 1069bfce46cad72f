import asyncio
async def step(n):
    await asyncio.sleep(n)
    return n
async def main():
    print(await asyncio.gather(*map(step, (6, 12, 18))))
asyncio.run(main())
