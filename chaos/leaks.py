"""What may have been left behind: keys, files and descriptors that nothing needs any more."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from chaos.waits import BrokenError, until
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text

if TYPE_CHECKING:
    from chaos.world import World
    from tests.acceptance.host import Host

SPARE = 24
"""Descriptors by which a host may differ by chance: interpreters kept warm, pipes of jobs."""
GONE = re.compile(r"(own|c|pk|u|live|mb|bad|aside)(:|$)")
"""Kinds of keys that are empty, so not there, when no run is unfinished and no message under way."""


class Leaks:
    """Compares a world at rest with itself as it was when everything was warm."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[str, int] = {}
        self.counts: dict[str, object] = {}
        """For the report: what :meth:`found` counted."""

    def begin(self) -> None:
        """Remember how many descriptors there are now."""
        self._before = {name: held(self._world, host) for name, host in self._world.hosts.items()}

    def found(self) -> list[str]:
        """Return a sentence for each thing that was left; waits some seconds for stragglers."""
        wrong = self._keys() + self._files()
        after = {name: held(self._world, host) for name, host in self._world.hosts.items()}
        for name, count in after.items():
            if count > self._before[name] + SPARE:
                wrong.append(f"descriptors of {name} grew from {self._before[name]} to {count}")
        self.counts["descriptors before/after"] = f"{self._before} / {after}"
        return wrong

    def _keys(self) -> list[str]:
        left: list[str] = []

        def none() -> bool:
            names = self._names()
            self.counts["keys by kind"] = dict(
                sorted(Counter(name.partition(":")[0] for name in names).items())
            )
            left[:] = [name for name in names if GONE.match(name)]
            return not left

        try:
            # Schedules go on firing, so an instant without any run has to be met.
            until(none, "no key of an unfinished run is left", within=20, every=0.15)
        except BrokenError:
            return [f"key {name} is left" for name in left[:5]]
        return []

    def _names(self) -> list[str]:
        head = self._world.keys.prefix
        names: set[str] = set()
        with self._world.connect() as store:
            cursor = "0"
            while True:
                words = ("SCAN", cursor, "COUNT", 5000)
                position, found = items_of(store.run(Call(words, lambda reply: reply)))
                names.update(text(name) for name in found)
                cursor = text(position)
                if cursor == "0":
                    break
        foreign = [name for name in names if not name.startswith(head)]
        return [name.removeprefix(head) for name in names] + foreign

    def _files(self) -> list[str]:
        """No file of a run is left but its log, and no temporary one."""
        wrong = []
        for host in self._world.hosts.values():
            kinds = Counter(_kind(host, path) for path in host.state.rglob("*") if path.is_file())
            self.counts[f"files of {host.name}"] = dict(sorted(kinds.items()))
            wrong += [
                f"{host.name} has {path.name}"
                for path in host.state.rglob("*")
                if path.suffix in (".tmp", ".new") and path.is_file()
            ][:3]
        return wrong


def _kind(host: Host, path: object) -> str:
    """Return the first part of a path below the state directory: what kind of file it is."""
    return str(path.relative_to(host.state).parts[0])  # type: ignore[attr-defined]


def held(world: World, host: Host) -> int:
    """Return how many descriptors the processes of a host have open."""
    return sum(process.num_fds() for process in (world.supervisor(host), *world.pools(host)))
