from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import time

import pytest

from jobctl import InvalidArguments, NoSuchRun
from jobctl.cli.start import start
from jobctl.testing import PrivateDaemon, eager, wait_until

django = pytest.importorskip("django")

EXAMPLE = "web_django"
MANAGER = {"X-Role": "manager"}


@pytest.fixture(scope="module")
def project(example):
    """The example project, set up in this process, its tables made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_SETTINGS_MODULE", "shop_site.settings")
        patch.setenv("TZ", "UTC")  # Django sets it, for the whole process: it goes with the patch
        django.setup()
        importlib.import_module("django.core.management").call_command("migrate", verbosity=0)
        yield example
        importlib.import_module("django.db").connections.close_all()
        for one in importlib.import_module("jobctl.contrib.django.submitting")._clients:
            one.close()
    time.tzset()


@pytest.fixture
def web(project):
    return importlib.import_module("django.test").Client()


def orders():
    return importlib.import_module("shop.models").Order.objects


def post(web, url, **body):
    return web.post(url, body, content_type="application/json")


def ended(web, url, **headers):
    return web.get(url, {"wait": "30"}, headers=headers).json()


def test_run_sees_what_was_committed_before_it_was_submitted(web) -> None:
    answer = post(web, "/orders", item="lamp")

    assert answer.status_code == 202
    url = answer.headers["Location"]
    assert answer.json() == {"id": url.rpartition("/")[2], "job": "pack", "status_url": url}
    found = ended(web, url)
    assert (found["state"], found["result"]["item"]) == ("succeeded", "lamp"), found
    assert orders().get(pk=found["result"]["order"]).packed
    # A coroutine sees the same data.
    found = ended(web, post(web, "/jobs/count_packed").headers["Location"])
    assert found["result"] >= 1, found


def test_run_is_never_submitted_when_the_transaction_is_rolled_back(web) -> None:
    answer = post(web, "/orders", item="chair", change_of_mind=True)

    assert web.get(answer.headers["Location"]).status_code == 404
    assert not orders().filter(item="chair").exists()


PLAIN = """
[pools.default]
{init}

[defaults]
cwd = "."
env = {{ DJANGO_SETTINGS_MODULE = "shop_site.settings" }}

[jobs.count]
python = "plain:count"
"""


@pytest.mark.parametrize(
    ("init", "state"),
    [('child_init = "jobctl.contrib.django:set_up"', "succeeded"), ("", "failed")],
)
def test_modules_that_know_nothing_of_jobctl_use_models_once_a_pool_sets_django_up(
    project, init, state
) -> None:
    (project.folder / "plain.py").write_text(
        "from shop.models import Order\n\ndef count():\n    return Order.objects.count() >= 0\n"
    )
    with PrivateDaemon(PLAIN.format(init=init), root=project.folder) as daemon:
        run = daemon.client.submit("count")
        wait_until(lambda: run.state.final)
        assert (run.state, run.record.reason) == (
            state,
            None if state == "succeeded" else "exception",
        ), run.record.error


USES = """
from asgiref.sync import sync_to_async
from jobctl.contrib.django import with_connections
from shop.models import Order
from django.db import connection

def open_before():
    found = connection.connection is not None
    Order.objects.count()
    return found

def keeps():
    return open_before()

@with_connections
def gives():
    return open_before()

@with_connections
async def awaits():
    return await sync_to_async(open_before)()
"""


@pytest.mark.parametrize("kind", ["process", "thread", "async", "inline"])
def test_connections_are_given_back_after_each_run(project, kind) -> None:
    (project.folder / "uses.py").write_text(USES)
    text = PLAIN.format(init=f'python = "{kind}"\nslots = 1')
    text = text.partition("[jobs.count]")[0]
    text += "".join(
        f'[jobs.{name}]\npython = "uses:{name}"\n' for name in ("keeps", "gives", "awaits")
    )
    with PrivateDaemon(text, root=project.folder) as daemon:
        for name in ("gives", "awaits"):
            assert [daemon.client.submit(name).wait("30s") for _ in range(3)] == [False] * 3
        if kind in ("process", "inline"):
            assert [daemon.client.submit("keeps").wait("30s") for _ in range(2)] == [False, True]


def test_connections_are_left_alone_by_who_calls_the_function(project) -> None:
    transaction = importlib.import_module("django.db").transaction
    with transaction.atomic():
        made = orders().create(item="stool")
        found = importlib.import_module("shop.jobs").pack_order(made.pk)
        transaction.set_rollback(True)
    assert found["item"] == "stool"


def test_check_judges_functions_that_use_models_where_a_pool_sets_django_up(
    project, capsys
) -> None:
    (project.folder / "sells.py").write_text(
        "from shop.models import Order\n\ndef count():\n    return Order.objects.count()\n"
    )
    init = 'child_init = "jobctl.contrib.django:set_up"'
    text = PLAIN.format(init=init).replace("plain:count", "sells:cuont")
    (project.folder / "checked.toml").write_text(text)
    start(["check", "-c", str(project.folder / "checked.toml")])
    assert "there is no function cuont in sells" in capsys.readouterr().err
    (project.folder / "checked.toml").write_text(text.replace("cuont", "count"))
    assert start(["check", "-c", str(project.folder / "checked.toml"), "--strict"]) == 0


def test_handle_of_a_run_is_there_before_the_commit(project) -> None:
    transaction = importlib.import_module("django.db").transaction
    contrib = importlib.import_module("jobctl.contrib.django")
    with transaction.atomic():
        made = orders().create(item="table")
        run = contrib.submit_on_commit("pack", order_id=made.pk)
        with pytest.raises(NoSuchRun, match="when its transaction is committed"):
            run.refresh()

    assert run.wait("30s") == {"order": made.pk, "item": "table"}


def test_handle_of_a_run_that_was_rolled_back_says_so(project) -> None:
    transaction = importlib.import_module("django.db").transaction
    contrib = importlib.import_module("jobctl.contrib.django")
    with transaction.atomic():
        run = contrib.submit_on_commit("pack", order_id=1)
        transaction.set_rollback(True)

    with pytest.raises(NoSuchRun, match="never when it is rolled back"):
        run.wait("1s")


def test_arguments_are_checked_before_the_commit(project) -> None:
    transaction = importlib.import_module("django.db").transaction
    contrib = importlib.import_module("jobctl.contrib.django")

    def order_a_shelf(**asked: object) -> None:
        with transaction.atomic():
            orders().create(item="shelf")
            contrib.submit_on_commit("pack", **asked)

    with pytest.raises(InvalidArguments, match="order_id: 'seven' is not a whole number"):
        order_a_shelf(order_id="seven")
    with pytest.raises(InvalidArguments, match="no queue 'defualt'"):
        order_a_shelf(order_id=7, _queue="defualt")

    assert not orders().filter(item="shelf").exists()


def test_what_is_wrong_is_answered_and_not_raised(web) -> None:
    answer = post(web, "/jobs/pack", order="7")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "usage")
    assert post(web, "/jobs/nothing").status_code == 404
    assert web.get("/runs/" + "a" * 16).status_code == 404
    assert web.get("/runs/pack").status_code == 404
    url = post(web, "/orders", item="lamp").headers["Location"]
    assert web.get(url, {"wait": "long"}).status_code == 400


def test_only_who_may_revokes(web) -> None:
    settings = importlib.import_module("django.conf").settings
    override = importlib.import_module("django.test").override_settings
    url = post(web, "/jobs/forever").headers["Location"]
    wait_until(lambda: web.get(url).json()["state"] == "running", what="it runs")

    assert web.delete(url).status_code == 403
    with override(JOBCTL={**settings.JOBCTL, "REVOKE": False}):
        assert web.delete(url, headers=MANAGER).status_code == 405
    assert web.delete(url, headers=MANAGER).status_code == 202
    found = ended(web, url)
    assert (found["state"], found["error"]["reason"]) == ("revoked", "user")
    assert web.delete(url, headers=MANAGER).status_code == 409


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"CONFG": "jobs.toml"}, "no key 'CONFG'; did you mean CONFIG?"),
        ("jobs.toml", "is no dict"),
    ],
)
def test_wrong_setting_is_named(project, setting, words) -> None:
    override = importlib.import_module("django.test").override_settings
    conf = importlib.import_module("jobctl.contrib.django.conf")
    wrong = importlib.import_module("django.core.exceptions").ImproperlyConfigured
    with override(JOBCTL=setting), pytest.raises(wrong) as caught:
        conf.Settings.read()
    assert words in str(caught.value)


def test_check_of_django_finds_what_is_needed_at_the_first_request(project) -> None:
    run_checks = importlib.import_module("django.core.checks").run_checks
    override = importlib.import_module("django.test").override_settings
    assert run_checks() == []
    for setting, said in (
        ({"CONFIG": "/nowhere/jobs.toml"}, "/nowhere/jobs.toml"),
        ({"CONFIG": str(project.config), "ALLOW": "nope.may"}, "nope"),
        ({"CONFIG": str(project.config), "REVOKE": "false"}, "neither True nor False"),
    ):
        with override(JOBCTL=setting):
            (found,) = run_checks()
            assert said in found.msg


def test_commands_pass_through_with_the_exit_code(project) -> None:
    def manage(*words):
        return subprocess.run(
            [sys.executable, "manage.py", "jobctl", *words],
            cwd=project.folder,
            env={**os.environ, "JOBCTL_CONFIG": str(project.config)},
            capture_output=True,
            text=True,
            check=False,
        )

    made = orders().create(item="door")
    done = manage("submit", "pack", f"order_id={made.pk}", "--wait")
    assert done.returncode == 0, done.stderr
    assert manage("submit", "pakc", "--quiet").returncode == 66
    assert "pack" in manage("jobs").stdout


def test_command_that_a_program_calls_comes_back_with_output_and_exit_code(
    project, monkeypatch
) -> None:
    monkeypatch.setenv("JOBCTL_CONFIG", str(project.config))
    management = importlib.import_module("django.core.management")
    made, out, err = orders().create(item="door"), io.StringIO(), io.StringIO()

    management.call_command("jobctl", "submit", "pack", f"order_id={made.pk}", "--wait", stdout=out)
    assert len(out.getvalue().strip()) == 16
    assert orders().get(pk=made.pk).packed
    with pytest.raises(management.CommandError, match="submit pakc ended with exit code 66") as no:
        management.call_command("jobctl", "submit", "pakc", stderr=err)
    assert no.value.returncode == 66
    assert "did you mean pack?" in err.getvalue()


def test_zone_of_django_is_not_that_of_schedules(project) -> None:
    host = importlib.import_module("jobctl.host")
    # Django is told nothing of a zone, so it puts its process into that of Chicago.
    assert os.environ["TZ"] == "America/Chicago"
    assert host.host_zone() != "America/Chicago"
    words = ("next", "--schedule", "30 2 * * *", "-n", "1", "--json")
    for given in ({}, {"TZ": "Asia/Tokyo"}):
        environment = {name: value for name, value in os.environ.items() if name != "TZ"} | given
        zones = [
            json.loads(
                subprocess.run(
                    [sys.executable, *program, *words],
                    cwd=project.folder,
                    env={**environment, "JOBCTL_CONFIG": str(project.config)},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for program in (["-m", "jobctl"], ["manage.py", "jobctl"])
        ]
        assert zones[0] == zones[1]
        assert ("+09:00" in str(zones[0])) is bool(given)


def test_eager_mode_runs_in_the_transaction_of_the_test(web) -> None:
    with eager() as seen:
        url = post(web, "/orders", item="lamp").headers["Location"]
        assert web.get(url).json()["result"]["item"] == "lamp"
    assert [run.job for run in seen.runs] == ["pack"]
