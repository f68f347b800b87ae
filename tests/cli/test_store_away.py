"""What commands say, and exit with, while the store is in trouble of every kind."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from project import Project, Worker

from jobctl.model.ids import is_id
from jobctl.store import unsent
from jobctl.store.calls import Call
from tests.acceptance.trouble import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = "JOBCTL_STORE_WAIT"


@pytest.fixture
def troubled(server_binary: Path) -> Iterator[Server]:
    """A server for one test, to do everything to."""
    server = Server(server_binary)
    server.start()
    yield server
    server.close()


@pytest.fixture
def project_there(tmp_path: Path, troubled: Server) -> Iterator[Project]:
    """A project on that server."""
    with Project(tmp_path, str(troubled.path)) as project:
        yield project


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0")


@pytest.fixture
def away(tmp_path: Path, impatient: None) -> Project:
    """A project whose store does not listen."""
    (tmp_path / "state").mkdir()
    return Project(tmp_path, str(tmp_path / "nowhere"))


def settings(troubled: Server, **values: str) -> None:
    for name, value in values.items():
        troubled.raw("CONFIG", "SET", name.replace("_", "-"), value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_replicas_to_write": "1"}, "too few replicas"),
        ({"maxmemory": "1"}, "the queue store is full"),
    ],
)
def test_a_store_that_refuses_writes_is_75_with_the_id_and_nothing_was_accepted(
    project_there: Project, troubled: Server, impatient: None, values: dict[str, str], said: str
):
    settings(troubled, **values)
    result = project_there.jobctl("submit", "hello")
    assert result.code == 75
    assert is_id(result.id)
    assert "not accepted: " in result.err
    assert said in result.err
    settings(troubled, min_replicas_to_write="0", maxmemory="0")
    assert project_there.jobctl("inspect", result.id).code == 66


def test_a_refused_submit_is_json_with_its_id_too(
    project_there: Project, troubled: Server, impatient: None
):
    settings(troubled, maxmemory="1")
    result = project_there.jobctl("submit", "hello", "--json")
    assert is_id(result.json["id"])
    assert result.json["answer"] == result.error["code"] == "store_busy"


def test_a_store_without_room_for_connections_is_75(
    project_there: Project, troubled: Server, impatient: None
):
    with project_there.session as session:
        session.run(Call(("CONFIG", "SET", "maxclients", "1"), bool))
        result = project_there.jobctl("submit", "hello")
    assert result.code == 75
    assert "no connection left" in result.err


@pytest.mark.parametrize("verb", ["submit", "status"])
def test_a_store_that_wants_a_password_is_77_at_once(
    project_there: Project, troubled: Server, monkeypatch: pytest.MonkeyPatch, verb: str
):
    monkeypatch.setenv(WAIT, "20s")
    settings(troubled, requirepass="secret")
    begun = time.monotonic()
    result = project_there.jobctl(verb, *(["hello"] if verb == "submit" else []))
    assert (result.code, result.out) == (77, "")
    assert "refuses these credentials" in result.err
    assert time.monotonic() - begun < 10


def test_nobody_listening_is_69_with_the_id(away: Project):
    result = away.jobctl("submit", "hello")
    assert result.code == 69
    assert is_id(result.id)
    assert "not accepted: cannot reach the store" in result.err


def test_the_wait_is_as_long_as_was_asked_for(away: Project):
    begun = time.monotonic()
    assert away.jobctl("submit", "hello", "--store-wait", "300ms").code == 69
    assert 0.3 <= time.monotonic() - begun < 3


def test_a_wait_that_is_none_is_named(away: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(WAIT, "soon")
    result = away.jobctl("list")
    assert result.code == 78
    assert WAIT in result.err


def test_a_store_that_comes_back_meanwhile_accepts(
    project_there: Project, troubled: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(WAIT, "20s")
    troubled.kill()
    restart = threading.Timer(0.3, troubled.start)
    restart.start()
    try:
        run_id = project_there.submit("hello")
    finally:
        restart.join()
    assert project_there.run(run_id).state == "queued"


def test_a_missing_answer_is_75_unknown_and_repeating_makes_no_second_run(
    project_there: Project, troubled: Server, monkeypatch: pytest.MonkeyPatch
):
    troubled.pause()
    try:
        result = project_there.jobctl("submit", "hello")
    finally:
        troubled.go_on()
    assert result.code == 75
    assert f"repeat it with --id {result.id}, it cannot run twice" in result.err
    assert project_there.submit("hello", "--id", result.id) == result.id
    assert project_there.jobctl("list", "--ids").out.split() == [result.id]


def test_a_bulk_submit_without_an_answer_names_the_ids_in_doubt(
    project_there: Project, troubled: Server
):
    troubled.pause()
    try:
        result = project_there.jobctl(
            "submit", "hello", "--from-ndjson", "-", stdin=b'{"id": "a"}\n{"id": "b"}\n'
        )
    finally:
        troubled.go_on()
    assert result.code == 75
    assert len(result.out.split()) == 2
    again = project_there.jobctl(
        "submit", "hello", "--from-ndjson", "-", stdin=b'{"id": "a"}\n{"id": "b"}\n'
    )
    assert again.out == result.out


def test_a_spooled_run_is_kept_on_disk_for_its_owner_alone(away: Project):
    result = away.jobctl("submit", "typed", "path=x", "--spool", "--in", "10m", "--expires", "1h")
    assert result.code == 0
    assert "not accepted yet" in result.err
    (path,) = unsent.waiting(str(away.state))
    mode = Path(path).stat().st_mode
    assert mode & 0o777 == 0o600
    found = unsent.load(path, now=time.time())
    (run,) = found.runs
    assert (found.namespace, run.request.id) == ("t", result.id)
    assert run.request.kwargs["path"] == "x"
    assert run.start_at == pytest.approx(time.time() + 600, abs=30)
    assert run.expires_in == pytest.approx(3600, abs=30)


def test_what_is_spooled_may_name_a_queue_that_nobody_can_tell_of(away: Project):
    assert away.jobctl("submit", "hello", "--spool", "--queue", "elsewhere").code == 0
    refused = away.jobctl("submit", "hello", "--queue", "elsewhere")
    assert (refused.code, refused.out) == (69, "")


def test_a_spooled_run_is_json_too(away: Project):
    assert away.jobctl("submit", "hello", "--spool", "--json").json["answer"] == "spooled"


def test_nothing_is_spooled_while_the_store_answers(project: Project, worker: object):
    run_id = project.submit("hello", "--spool")
    assert project.run(run_id).state == "queued"
    assert unsent.waiting(str(project.state)) == []


def test_lines_are_spooled_in_batches(away: Project):
    lines = b"".join(b'{"args": ["%d"]}\n' % number for number in range(1200))
    result = away.jobctl("submit", "hello", "--from-ndjson", "-", "--spool", stdin=lines)
    assert result.code == 0
    assert "each of the last 1200 runs is spooled" in result.err
    files = [unsent.load(path, now=0.0) for path in unsent.waiting(str(away.state))]
    ids = [run.request.id for found in files for run in found.runs]
    assert ids == result.out.split()
    assert len(files) == 3


def test_what_cannot_be_spooled_is_not_accepted(away: Project):
    (away.state / unsent.DIRECTORY).write_text("in the way")
    result = away.jobctl("submit", "hello", "--spool")
    assert result.code == 69
    assert "cannot be left to the daemon" in result.err


def test_spooling_and_waiting_exclude_each_other(away: Project):
    result = away.jobctl("submit", "hello", "--spool", "--wait")
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize("verb", ["status", "list", "wait"])
def test_reading_verbs_name_the_store_that_is_away(
    away: Project, monkeypatch: pytest.MonkeyPatch, verb: str
):
    monkeypatch.setattr("jobctl.client.steps.OUTAGE", 0.0)
    result = away.jobctl(verb, *(["abcdefgh"] if verb == "wait" else []))
    assert result.code == 69
    assert "cannot reach the store" in result.err


def test_following_a_run_outlasts_a_restart(project_there: Project, troubled: Server):
    run_id = project_there.submit("hello")
    troubled.kill()
    restart = threading.Timer(0.3, troubled.start)
    restart.start()
    try:
        assert project_there.jobctl("wait", run_id, "--timeout", "2s").code == 124
    finally:
        restart.join()


@pytest.mark.parametrize("verb", ["status", "list", "inspect", "logs", "result", "wait"])
def test_reading_verbs_outlive_a_broken_configuration(project: Project, worker: Worker, verb: str):
    project.until_cached()
    project.submit("hello")
    run_id = worker.finish()
    project.path.write_text('[jobs.a]\ncomand = "x"\n')
    result = project.jobctl(verb, *([] if verb in ("status", "list") else [run_id]))
    assert result.code == 0
    assert "is used as it last was right" in result.err
    assert "comand" in result.err


@pytest.mark.parametrize("verb", ["submit", "revoke", "jobs", "check"])
def test_other_verbs_refuse_a_broken_configuration(project: Project, worker: Worker, verb: str):
    project.until_cached()
    project.path.write_text('[jobs.a]\ncomand = "x"\n')
    assert project.jobctl(verb, *(["hello"] if verb in ("submit", "revoke") else [])).code == 78
