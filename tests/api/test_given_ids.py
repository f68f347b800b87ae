"""Ids that programs give: how long they hold, whose they are, and what is said of runs that are gone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import jobctl
from jobctl.model.ids import new_id
from jobctl.store import failpoints
from jobctl.store.failpoint_plan import Plan
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host


def push_out(client: jobctl.Client) -> None:
    """End another run of the job that keeps one."""
    client.submit("brief", 0).wait(30)


def asked(run: jobctl.Run, what: str) -> object:
    found = getattr(run, what)
    answer = found() if callable(found) else found
    return list(answer) if what in ("events", "follow") else answer


def test_id_that_was_given_makes_no_second_run_when_its_record_is_gone(
    client: jobctl.Client,
) -> None:
    run = client.submit("brief", 1, _id="invoice 1")
    assert run.wait(30) == {"sum": 1}
    push_out(client)

    again = client.submit("brief", 1, _id="invoice 1")
    (many,) = client.submit_many("brief", [{"_id": "invoice 1", "_priority": 9}])

    assert again == many == run
    with pytest.raises(
        jobctl.NoSuchRun, match=r"was accepted, has ended \(succeeded\).*keep_runs = 1 of"
    ):
        again.wait(5)
    with pytest.raises(jobctl.NoSuchRun, match=r"run \w+ of job brief was accepted, has ended"):
        client.run(run.id)


def test_id_is_known_as_long_as_its_record_where_the_job_says_so(client: jobctl.Client) -> None:
    run = client.submit("fleeting", 1, _id="x")
    assert run.wait(30) == {"sum": 1}
    client.submit("fleeting", 0).wait(30)
    second = int(time.time())  # what was signed in the same one counts as put back by a stranger
    wait_until(lambda: int(time.time()) > second)
    again = client.submit("fleeting", 2, _id="x")
    assert (again, again.wait(30)) == (run, {"sum": 2})


@pytest.mark.parametrize(
    "ask", ["state", "wait", "result", "progress", "revoke", "events", "follow"]
)
def test_handle_of_a_forgotten_run_says_that_it_was_accepted_and_what_dropped_it(
    client: jobctl.Client, ask: str
) -> None:
    run = client.submit("brief", 1)
    client.run(run.id).wait(30)
    push_out(client)
    with pytest.raises(jobctl.NoSuchRun) as caught:
        asked(run, ask)
    assert str(caught.value) == (
        f"run {run.id} of job brief was accepted, and its record is gone: keep_runs = 1 of the job "
        "has dropped it, because newer runs ended"
    )
    assert (caught.value.job, caught.value.id) == ("brief", run.id)


def test_run_that_nobody_knows_is_not_said_to_have_been_accepted(client: jobctl.Client) -> None:
    with pytest.raises(jobctl.NoSuchRun, match="it never was, or is past its retention"):
        client.run(new_id())


def test_id_of_another_jobs_run_is_refused_with_whose_it_is(client: jobctl.Client) -> None:
    run = client.submit("kept", 1)
    says = rf"job add: nothing was submitted, the id {run.id} is that of a run of job kept; leave out _id"
    with pytest.raises(jobctl.InvalidArguments, match=says) as caught:
        client.submit("add", 1, _id=run.id)
    assert (caught.value.job, caught.value.id) == ("add", run.id)

    async def twice() -> None:
        async with jobctl.AsyncClient(client._operations.session.path) as other:
            with pytest.raises(jobctl.InvalidArguments, match=says):
                await other.submit("add", 1, _id=run.id)

    asyncio.run(twice())
    assert run.record.job == "kept"


def test_id_of_another_jobs_run_among_many_is_refused_with_its_item(client: jobctl.Client) -> None:
    run = client.submit("kept", 1)
    mine = new_id()
    items = [{"_id": mine}, {"_id": run.id}, {}, {"_id": run.id, "_priority": 9}]
    says = (
        rf"2 of 4 runs were not submitted.*\(item 1, for job add: {run.id} is of job kept; item 3, .*"
        r"All others were accepted"
    )
    with pytest.raises(jobctl.InvalidArguments, match=says) as caught:
        client.submit_many("add", items)
    assert (caught.value.items, caught.value.ids) == ([1, 3], [run.id, run.id])
    assert client.run(mine).wait(30) == {"sum": 0}


def test_ids_that_a_running_function_gives_are_as_those_of_a_client(client: jobctl.Client) -> None:
    run_id = client.submit("asks", "brief", "inner").wait(30)
    client.run(run_id).wait(30)
    push_out(client)
    assert client.submit("asks", "brief", "inner").wait(30) == run_id
    assert client.submit("brief", _id="inner").id == run_id

    taken = client.submit("kept", 1)
    with pytest.raises(
        jobctl.JobFailed, match=f"the id {taken.id} is that of a run of job kept, not of add"
    ):
        client.submit("asks", "add", taken.id).wait(30)


def test_key_is_one_jobs_own(client: jobctl.Client) -> None:
    assert client.submit("kept", _id="k") != client.submit("deaf", _id="k")


def test_key_given_twice_in_one_call_makes_one_run(client: jobctl.Client) -> None:
    items = [
        {"x": 1, "_id": "both"},
        {"x": 2, "_id": "both"},
        {"x": 3, "_id": "both", "_priority": 1},
    ]
    first, *others = client.submit_many("kept", items)
    assert [first, first] == others
    assert first.record.request.kwargs == {"x": 1}


def test_lost_answer_says_how_to_repeat_it_in_python_and_for_how_long_that_is_safe(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop"))
        with pytest.raises(jobctl.SubmitUnknown) as own:
            client.submit("kept", 1)
        with pytest.raises(jobctl.SubmitUnknown) as given:
            client.submit("kept", 1, _id="mine")
    assert str(own.value).endswith(
        f"; repeat it with _id='{own.value.id}', it cannot run twice as long as its record is kept "
        "(keep_runs, keep_days)"
    )
    assert str(given.value).endswith(
        f"; repeat it with _id='{given.value.id}', it cannot run twice until 1d after its end (keep_ids)"
    )


def test_lost_answer_among_many_says_which_items_and_ids_it_is_about(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"n": n} for n in range(1300)]
    with jobctl.Client(shop.config, store_wait=0) as client:
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop@2"))
        with pytest.raises(jobctl.SubmitUnknown) as caught:
            client.submit_many("kept", items)
        monkeypatch.setattr(failpoints, "active", None)
        error = caught.value
        assert list(error.items) == list(range(500, 1000))
        assert len(error.ids) == 500
        assert str(error).startswith(
            "items 500 to 999 of 1300 (counted from 0): no reply from the store"
        )
        assert f"with its id as _id ({error.ids[0]!r}, {error.ids[1]!r}, " in str(error)
        assert str(error).endswith(
            "; the 500 before were sent and answered; the 300 behind were not sent"
        )
        for place, run_id in zip(error.items, error.ids, strict=True):
            if place in (500, 999):
                again = client.submit("kept", **items[place], _id=run_id)
                assert again.record.request.kwargs == {"n": place}


def test_what_was_not_sent_of_many_is_told_with_its_items(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        monkeypatch.setattr(failpoints, "active", Plan("cli", "before:submit=drop@2"))
        with pytest.raises(
            jobctl.StoreUnreachable, match=r"items 500 to 599 of 600 .*not accepted"
        ) as caught:
            client.submit_many("kept", [{}] * 600)
    assert list(caught.value.items) == list(range(500, 600))
