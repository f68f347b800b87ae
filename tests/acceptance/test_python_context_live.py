"""Functions that ask and tell through a real daemon: once, submit, Retry, progress, tracebacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

SHOP = """
from jobctl import Fatal, Retry, Skip, current

class OutOfStock(LookupError):
    pass

def order(number):
    run = current()
    if run.once(f"mail-{number}"):
        print("mailed")
    with run.finish_once(f"pay-{number}") as mine:
        if mine:
            print("paying in attempt", run.attempt)
            if run.attempt == 1:
                raise Retry("bank is closed", in_=0.01)
    child = run.submit("parcel", number, weight=2, _id=f"parcel-{number}", _tags={"shop": "a"})
    assert run.submit("parcel", number, weight=2, _id=f"parcel-{number}") == child
    return {"parcel": child, "once": run.once(f"mail-{number}")}

def parcel(number, weight):
    return [number, weight, current().tags]

def chain():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("no key") from error

def sold_out():
    raise OutOfStock("no 42 left")

def nothing_new():
    raise Skip

def refused():
    try:
        current().submit("as_other")
    except RuntimeError as error:
        return str(error)
"""
JOBS = """
[defaults]
cwd = "{directory}"
[pools.default]
slots = 2
[jobs.order]
python = "shop:order"
retries = 1
retry_on = [7]
[jobs.parcel]
python = "shop:parcel"
[jobs.chain]
python = "shop:chain"
[jobs.sold_out]
python = "shop:sold_out"
expected = ["shop.OutOfStock"]
[jobs.nothing_new]
python = "shop:nothing_new"
[jobs.large]
python = "shop:large"
result_format = "pickle"
[jobs.none]
python = "shop:none"
result_compression = "zlib"
"""


def test_functions_ask_the_store_and_say_how_they_go_on(host: Host) -> None:
    more = (
        "\ndef large(): return {'rows': (1, 2)}\n"
        "def none(): return ['the same words'] * 1000\n"
        "def missing():\n"
        "    try: current().submit('nothing')\n"
        "    except RuntimeError as error: return str(error)\n"
    )
    (host.directory / "shop.py").write_text(SHOP + more)
    jobs = JOBS.replace("{directory}", str(host.directory))
    host.write(jobs + '[jobs.missing]\npython = "shop:missing"\n')
    host.start()

    first = host.submit("order", "7")
    run = host.wait_state(first)
    assert (run["state"], run["attempt"]) == ("succeeded", 2), run
    assert host.run("logs", first, "--attempt", "1").splitlines()[:2] == [
        "mailed", "paying in attempt 1",
    ]  # fmt: skip
    assert host.run("logs", first, "--attempt", "2").splitlines() == ["paying in attempt 2"]
    assert run["attempts"][0]["error"] == "bank is closed"
    assert run["result"]["once"] is False

    child = host.wait_state(run["result"]["parcel"])
    assert child["result"] == ["7", 2, {"shop": "a"}]
    assert (child["trigger"], child["parent"]["id"]) == ("job", first)
    assert "part of" in host.run("inspect", child["id"])

    second = host.wait_state(host.submit("order", "7"))
    assert host.run("logs", second["id"]) == ""
    assert second["result"] == {"parcel": child["id"], "once": False}

    chained = host.wait_state(host.submit("chain"))
    trace = chained["attempts"][0]["traceback"]
    assert "KeyError: 'key'" in trace
    assert trace.endswith("ValueError: no key")
    shown = host.run("inspect", chained["id"])
    assert "direct cause" in shown
    assert '    {}["key"]' in shown

    plain = host.wait_state(host.submit("sold_out"))
    assert plain["error"] == "shop.OutOfStock: no 42 left"
    assert plain["attempts"][0]["traceback"] is None

    said = host.wait_state(host.submit("missing"))["result"]
    assert "no job 'nothing'" in said

    pickled = host.submit("large", "--wait")
    refused = host.call("result", pickled.strip())
    assert refused.returncode == 77
    assert "allow_pickle = true" in refused.stderr
    host.write(jobs, settings="allow_pickle = true\n")
    assert json.loads(host.run("result", pickled.strip())) == {"rows": [1, 2]}

    small = host.submit("none", "--wait").strip()
    assert json.loads(host.run("result", small, "--json"))["result"] == ["the same words"] * 1000


def test_runs_in_bundles_retry_and_keep_their_tracebacks_as_others(host: Host) -> None:
    (host.directory / "shop.py").write_text(
        "from jobctl import Retry, current\n"
        "def go(number):\n"
        "    run = current()\n"
        "    if run.attempt == 1: raise Retry('not yet')\n"
        "    first = run.once(f'key-{number % 5}')\n"
        "    raise LookupError(f'{run.id} {first}')\n"
    )
    host.write(
        f'[jobs.go]\npython = "shop:go"\ncwd = "{host.directory}"\n'
        'retries = 1\nretry_delay = "10ms"\nretry_on = [7]\n'
    )
    host.start()
    bulk = "".join(f'{{"job": "go", "args": [{n}]}}\n' for n in range(60))
    host.run("submit", "--from-ndjson", "-", input=bulk)
    wait_until(lambda: all(run["state"] == "failed" for run in host.runs()), what="all failed")

    firsts = 0
    for run in host.runs():
        assert (run["attempt"], run["reason"]) == (2, "exception"), run
        assert f"LookupError: {run['id']}" in run["attempts"][1]["traceback"]
        assert (run["attempts"][0]["error"], run["attempts"][0]["traceback"]) == ("not yet", None)
        firsts += run["error"].endswith("True")
    assert firsts == 5


def test_without_a_daemon_functions_know_their_run_but_no_store(host: Host) -> None:
    (host.directory / "shop.py").write_text(
        "from jobctl import current\n"
        "def go():\n"
        "    run = current()\n"
        "    try: run.once('key')\n"
        "    except RuntimeError as error: print(run.job, error)\n"
    )
    host.write(f'[jobs.go]\npython = "shop:go"\ncwd = "{host.directory}"\n')
    assert "go this run has no store behind it" in host.run("run", "go")


def test_functions_name_queues_that_exist(host: Host) -> None:
    (host.directory / "shop.py").write_text(
        "from jobctl import current\n"
        "def parcel(): pass\n"
        "def lines():\n"
        "    taken = [current().submit('parcel', _queue=name) for name in ('spare', 'far')]\n"
        "    try: current().submit('parcel', _queue='nowhere')\n"
        "    except RuntimeError as error: return [str(error), len(taken)]\n"
    )
    host.write(
        f'[defaults]\ncwd = "{host.directory}"\n[jobs.parcel]\npython = "shop:parcel"\n'
        '[jobs.lines]\npython = "shop:lines"\n'
        '[queues.spare]\nmax_length = 9\n[pools.other]\nqueues = ["far"]\n'
    )
    host.start()
    said, taken = host.wait_state(host.submit("lines"))["result"]
    assert "there is no queue 'nowhere' in jobs.toml of host-a, and no pool takes from it" in said
    assert taken == 2


def test_run_that_skips_itself_is_no_failure_for_who_waits(host: Host) -> None:
    (host.directory / "shop.py").write_text(SHOP)
    host.write(JOBS.format(directory=host.directory))
    host.start()
    done = host.call("submit", "nothing_new", "--wait")
    assert done.returncode == 0, done.stderr
    found = host.inspect("nothing_new")
    assert (found["state"], found["error"]) == ("skipped", "skipped by its function")
    assert host.stop() == 0
