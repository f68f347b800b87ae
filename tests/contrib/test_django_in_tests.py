"""What projects write with Django's own test runner, against databases that show what is closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("django")

EXAMPLE = Path(__file__).parents[2] / "examples" / "web_django"
SETTINGS = """
from shop_site.settings import *

DATABASES["default"]["TEST"] = {"NAME": %s}
"""
CASES = """
import asyncio
import time

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from jobctl import AsyncClient, JobFailed
from jobctl.contrib.django import job, submit, submit_on_commit
from jobctl.testing import eager

from shop.jobs import count_packed, pack_order
from shop.models import Order


class Direct(TransactionTestCase):
    def test_call_in_a_transaction(self):
        with transaction.atomic():
            made = Order.objects.create(item="tea")
            pack_order(made.pk)
        self.assertTrue(Order.objects.get().packed)


class Eager(TestCase):
    def test_submit(self):
        made = Order.objects.create(item="tea")
        with eager():
            self.assertEqual(submit("pack", order_id=made.pk).wait()["item"], "tea")
        made.refresh_from_db()
        self.assertTrue(made.packed)

    def test_submit_on_commit(self):
        with eager() as seen, self.captureOnCommitCallbacks(execute=True):
            made = Order.objects.create(item="tea")
            submit_on_commit("pack", order_id=made.pk)
        made.refresh_from_db()
        self.assertEqual(([run.state for run in seen.runs], made.packed), (["succeeded"], True))

    def test_view(self):
        with eager() as seen, self.captureOnCommitCallbacks(execute=True):
            self.client.post("/orders", {"item": "tea"}, content_type="application/json")
        self.assertEqual([run.state for run in seen.of("pack")], ["succeeded"])
        self.assertTrue(Order.objects.get().packed)

    def test_queries_are_counted(self):
        made = Order.objects.create(item="tea")
        with eager(), self.assertNumQueries(3):
            Order.objects.count()
            submit("pack", order_id=made.pk)

    def test_what_was_checked_is_submitted_on_commit(self):
        items = [1]
        with eager() as seen:
            with self.captureOnCommitCallbacks(execute=True):
                run = submit_on_commit("takes", items=items, _id=None)
                items.append(object())
            self.assertEqual(run.result, [1])
        self.assertEqual([one.id for one in seen.runs], [run.id])

    def test_unique_run_that_waits_is_the_one(self):
        with eager(hold=True) as seen:
            first = submit("takes_once", items=[1])
            with self.captureOnCommitCallbacks(execute=True):
                run = submit_on_commit("takes_once", items=[1])
            self.assertEqual((run.id, run.state, len(seen)), (first.id, "queued", 1))

    def test_coroutine(self):
        Order.objects.create(item="tea", packed=True)
        with eager():
            self.assertEqual(submit("count_packed").wait(), 1)

    async def test_in_an_event_loop(self):
        made = await Order.objects.acreate(item="tea")
        with eager():
            async with AsyncClient() as client:
                await client.submit("pack", order_id=made.pk)
                run = await client.submit("count_packed")
                self.assertEqual(await run.wait(), 1)
            again = await sync_to_async(submit)("count_packed")
            self.assertEqual(again.result, 1)

    def test_runs_that_a_coroutine_submits(self):
        with eager() as seen:
            self.assertEqual(submit("orders_itself").wait(), 1)
        self.assertEqual([run.state for run in seen.runs], ["succeeded"] * 3)
        self.assertEqual(seen.of("count_packed")[0].result, "1")

    def test_traceback_of_a_coroutine(self):
        with eager():
            (attempt,) = submit("breaks").record.attempts
        files = [line for line in attempt.traceback.splitlines() if line.startswith("  File")]
        self.assertRegex(files[0], "shop/jobs.py")

    def test_coroutine_that_takes_too_long(self):
        with eager():
            run = submit("naps")
            with self.assertRaisesRegex(JobFailed, "within its timeout of 0.5 s"):
                run.wait()
        # It has tidied up, in the transaction of the test.
        self.assertEqual(Order.objects.get().item, "cleaned")

    def test_coroutine_that_is_warned(self):
        with eager():
            self.assertEqual(submit("warned").wait(), "soft_timeout of 0.2 s has passed")
"""
MORE_JOBS = """

@job
def takes(items: list):
    return items


@job(unique="args")
def takes_once(items: list):
    return items


@job(timeout="0.5s")
async def naps():
    import asyncio
    try:
        await asyncio.sleep(600)
    finally:
        await Order.objects.acreate(item="cleaned")


@job
async def breaks():
    await Order.objects.aget(item="gone")


@job
async def orders_itself():
    from jobctl import current
    made = await Order.objects.acreate(item="tea")
    current().submit("pack", order_id=made.pk)
    current().submit("count_packed")
    return await Order.objects.filter(packed=True).acount()


@job(soft_timeout="0.2s", timeout="1m")
async def warned():
    import asyncio
    from jobctl import SoftTimeout
    try:
        await asyncio.sleep(600)
    except SoftTimeout as error:
        return str(error)
"""


@pytest.mark.parametrize("name", ["None", 'BASE_DIR / "test.sqlite3"'], ids=["memory", "file"])
def test_jobs_run_in_the_transaction_of_a_test(tmp_path, name) -> None:
    folder = tmp_path / "shop_site"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "settings_of_tests.py").write_text(SETTINGS % name)
    (folder / "shop" / "tests.py").write_text(CASES)
    with (folder / "shop" / "jobs.py").open("a") as jobs:
        jobs.write(MORE_JOBS)
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "--settings", "settings_of_tests"],
        cwd=folder,
        env={**os.environ, "JOBCTL_CONFIG": str(folder / "jobs.toml")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
