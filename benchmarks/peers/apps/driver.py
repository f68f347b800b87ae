"""Submits on behalf of the benchmark: ``driver.py APP many COUNT | paced COUNT SECONDS | once``.

An app has ``submit_many(count)`` and ``submit_one(number)``, both plain or both coroutines, and
``connect()``, which is not counted as submitting. The answer is one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import time
from typing import Any


async def main(name: str, what: str, arguments: list[str]) -> None:
    """Carry out one order."""
    app = importlib.import_module(name)
    await _done(app.connect())
    if what == "many":
        print(json.dumps(await _many(app, int(arguments[0]))))
    elif what == "paced":
        print(json.dumps(await _paced(app, int(arguments[0]), float(arguments[1]))))
    else:
        await _done(app.submit_one(0))


async def _many(app: Any, count: int) -> dict[str, float]:  # noqa: ANN401 - any module
    cpu, started = time.process_time(), time.perf_counter()
    await _done(app.submit_many(count))
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


async def _paced(app: Any, count: int, apart: float) -> list[int]:  # noqa: ANN401 - any module
    moments = []
    begin = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begin + number * apart - time.monotonic()))
        moments.append(time.monotonic_ns())
        await _done(app.submit_one(number))
    return moments


async def _done(result: object) -> None:
    if inspect.isawaitable(result):
        await result


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
