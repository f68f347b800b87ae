"""Warm children for tests: real interpreters, a job directory, one call at a time."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobctl.engine.python_host import PythonCall, PythonChild, child_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jobctl.engine.python_host import PythonReply

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
DEADLINE = 20.0


def _candidates(version: str) -> list[Path]:
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [Path(path) for path in (shutil.which(name),) if path]
    return found + sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))


@functools.cache
def find_python(version: str) -> str | None:
    """Return an interpreter of that version that starts, or None."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    for path in _candidates(version):
        said = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout.strip() == version:
            return str(path)
    return None


class Bench:
    """A child of one interpreter, and a directory ``jobs.py`` is written to."""

    def __init__(self, directory: Path, interpreter: str = sys.executable, **key: Any) -> None:
        self.directory = directory
        self.cwd = directory / "app"
        self.cwd.mkdir(exist_ok=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        self.log = directory / "run.log"
        self.key = child_key(interpreter=interpreter, env=self.env, cwd=str(self.cwd), **key)
        self.child: PythonChild | None = None
        self.children: list[PythonChild] = []
        self.pids: list[int] = []
        self.progress: list[tuple[float, str]] = []

    def write(self, source: str, name: str = "jobs.py") -> Path:
        """Write a module a minute old, as a deployed one is."""
        path = self.cwd / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(source)
        then = path.stat().st_mtime - 60
        os.utime(path, (then, then))
        return path

    def start(self) -> PythonChild:
        self.child = PythonChild.start(self.key, env=self.env)
        self.children.append(self.child)
        self.pids.append(self.child.pid)
        return self.child

    async def call(self, target: str, *args: object, **fields: Any) -> PythonReply:
        """Call ``target`` in the running child, or in a new one."""
        child = self.child or self.start()
        fields = {"env": self.env, "cwd": str(self.cwd), "run_id": "r", **fields}
        self.log.unlink(missing_ok=True)
        fd = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            name = target if ":" in target else f"jobs:{target}"
            call = PythonCall(target=name, args=args, **fields)
            return await asyncio.wait_for(
                child.call(call, log_fd=fd, on_progress=lambda *p: self.progress.append(p)),
                DEADLINE,
            )
        finally:
            os.close(fd)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def reap(self) -> int:
        """Wait for the child and return its wait status."""
        assert self.child is not None
        self.pids.remove(self.child.pid)
        return os.waitpid(self.child.pid, 0)[1]

    def close(self) -> None:
        for child in self.children:
            child.close()
            os.close(child.pidfd)
        for pid in self.pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


async def until(condition: Callable[[], object]) -> None:
    """Return when ``condition`` holds; raises TimeoutError after the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.001)


def staged(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an ``async`` test of a ``bench`` in an event loop, and leave no process behind."""

    @functools.wraps(story)
    def test(bench: Bench, **fixtures: object) -> None:
        async def scene() -> None:
            try:
                await story(bench=bench, **fixtures)
            finally:
                bench.close()

        asyncio.run(scene())

    return test
