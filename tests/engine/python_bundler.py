"""Bundles for tests: a warm child that takes several runs at once, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from python_children import DEADLINE, Bench

from jobctl.engine import tally

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.engine.python_host import PythonChild

RESULT, MORE = 10, 11
"""Places in an answer."""


class Bundler(Bench):
    """A child that takes bundles; also what becomes of them."""

    def __init__(self, directory: Path, interpreter: str) -> None:
        super().__init__(directory, interpreter)
        (directory / "logs").mkdir()
        self.tallies: list[tally.Tally] = []
        self.end: asyncio.Future[dict[str, Any]] | None = None
        self.left = 0
        """Runs of the last bundle that have not begun."""

    def share(self) -> PythonChild:
        child = self.start()
        own = tally.Tally(str(self.directory / f"{child.pid}.tally"))
        self.tallies.append(own)
        child.share(own.path, spool=str(self.directory / "spool"), tokens=own.tokens)
        return child

    async def bundle(
        self, *runs: tuple[str, list[Any]], more: dict[int, Any] | None = None, **shape: Any
    ) -> list[list[Any]]:
        """Run functions of ``jobs`` one after the other; return what is answered of each.

        ``more``: what some of them have besides their shape: environment and limits.
        """
        child = self.child or self.share()
        await asyncio.wait_for(child.ready(), DEADLINE)
        own, known = self.tallies[-1], {}
        for name, _ in runs:
            known.setdefault(name, len(known) + 1)
        rows = [
            (known[name], f"r{n}", 1, 7, (more or {}).get(n), json.dumps([args, {}]))
            for n, (name, args) in enumerate(runs)
        ]
        shapes = [(number, self._shape(name, shape)) for name, number in known.items()]
        self.end = asyncio.get_running_loop().create_future()
        number = own.begin(len(rows))
        child.bundle(number, rows, shapes=shapes, listener=self)
        await asyncio.wait_for(asyncio.shield(self.end), DEADLINE)
        self.left = own.call_back()
        return own.answers()

    async def results(self, *runs: tuple[str, list[Any]], **fields: Any) -> list[Any]:
        answers = await self.bundle(*runs, **fields)
        assert [answer[MORE] for answer in answers] == [None] * len(answers)
        return [answer[RESULT] and json.loads(answer[RESULT]) for answer in answers]

    def _shape(self, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        return {
            "target": f"jobs:{name}",
            "env": self.env,
            "cwd": str(self.cwd),
            "stdin": None,
            "max_result": 1 << 20,
            "limits": {},
            "exchange": str(self.directory / "0"),
            "logs": str(self.directory / "logs"),
            "mark": "host/1",
            **changes,
        }

    def output_of(self, run: str) -> str:
        """Return what a run printed whose successor has begun."""
        return (self.directory / "logs" / f"{run}.1.log").read_text()

    def on_news(self, meta: dict[str, Any]) -> None:
        assert self.end is not None
        if meta["end"]:
            self.end.set_result(meta)

    def on_death(self) -> None:
        if self.end is not None and not self.end.done():
            self.end.set_result({"died": True})

    def on_progress(self, _seq: int, percent: float, message: str) -> None:
        self.progress.append((percent, message))

    def close(self) -> None:
        super().close()
        for one in self.tallies:
            one.close()
