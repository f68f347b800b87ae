"""New zone data while the daemon runs: a reload takes it, without a restart."""

from __future__ import annotations

import asyncio
import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from clockwork import an_identity
from test_scheduler import SetClock

from jobctl.client.zone_data import zone_data
from jobctl.engine.scheduler import Scheduler
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, ScheduleDef
from jobctl.model.rules import schedule_entries
from jobctl.model.schedule import forget_zones
from jobctl.store import queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore

EVE = datetime(2021, 6, 1, 0, 0, tzinfo=UTC)


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[Path]:
    """A directory of zone data of our own, the only one that is looked at first."""
    before = zoneinfo.TZPATH
    folder = tmp_path / "zoneinfo"
    (folder / "Etc").mkdir(parents=True)
    install(folder, "Etc/UTC", "UTC")
    zoneinfo.reset_tzpath(to=[str(folder)])
    forget_zones()
    yield folder
    zoneinfo.reset_tzpath(to=before)
    forget_zones()


def install(folder: Path, name: str, source: str) -> None:
    """Put the data of one zone in place under another name, as an update does: by renaming."""
    area, _, town = source.rpartition("/")
    package = "tzdata.zoneinfo" + (f".{area}" if area else "")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(resources.files(package).joinpath(town).read_bytes())
    fresh.rename(path)


def test_reload_takes_new_zone_data(store: BlockingStore, server: EmbeddedStore, zones: Path):
    install(zones, "Test/Town", "UTC")
    job = JobDef(
        name="j",
        command="true",
        schedules=(ScheduleDef(name="j", rule="30 12 * * *"),),
        timezone="Test/Town",
    )
    config = Config(settings=Settings(namespace="zone-data"), jobs={"j": job})
    keys = Keys("zone-data")
    (entry,) = schedule_entries(config, host="h", timezone="UTC")
    last = round(EVE.timestamp() * 1000)
    store.run(Call(("HSET", keys.schedule("j"), "gen", entry.generation, "last", last), bool))
    clock = SetClock(EVE)

    async def play() -> None:
        connection = AsyncStore(server.address)
        scheduler = Scheduler(
            connection, keys, an_identity("s", boot_id="b"), peers=list, clock=clock
        )  # fmt: skip
        scheduler.configure(config)
        for wait in (timedelta(hours=12, minutes=29, seconds=59), timedelta(seconds=1)):
            clock.at += wait
            await scheduler.tick()
        install(zones, "Test/Town", "Etc/GMT-1")
        await scheduler.tick()
        scheduler.configure(config)
        await scheduler.tick()
        for wait in (timedelta(hours=22, minutes=59, seconds=59), timedelta(seconds=1)):
            clock.at += wait
            await scheduler.tick()
        await connection.close()

    asyncio.run(play())
    decided = store.run(queries.schedule_history(keys, "j", newest=10))[::-1]
    moments = [datetime.fromtimestamp(one.instant, UTC) for one in decided]
    assert [(one.kind, f"{at:%d %H:%M}") for one, at in zip(decided, moments, strict=True)] == [
        ("fire", "01 12:30"),
        ("fire", "02 11:30"),
    ]


def test_the_version_of_the_zone_data_is_told(zones: Path):
    assert zone_data() == f"zone data of unknown age in {zones}"
    (zones / "tzdata.zi").write_text("# version 2031a\n# redo posix_only\n")
    assert zone_data() == f"zone data 2031a in {zones}"
    (zones / "Etc" / "UTC").unlink()
    assert zone_data().endswith("of the tzdata package")
