"""A process that cannot be made is an outcome with a text that helps, and the slot goes on."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

import pytest

from jobctl.engine.spawn import Launches, SpawnError
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from real_attempts import Attempts

    from jobctl.engine.slot import Slot
    from jobctl.model.run import Outcome


def refused(attempts: Attempts, job: JobDef, **more: object) -> Outcome:
    outcome = attempts.execute(job, **more)
    assert (outcome.kind, outcome.reason, outcome.pid, outcome.started_at) == (
        OutcomeKind.FAILED,
        Reason.SPAWN,
        None,
        0,
    )
    return outcome


def test_unknown_command(attempts: Attempts) -> None:
    outcome = refused(attempts, JobDef(name="j", command=("no-such-program",)))
    assert outcome.exit_code == 127
    assert outcome.error == (
        "no-such-program: not found in PATH of the job; mend the command, or set PATH in env of "
        "the job"
    )


def test_unknown_shell(attempts: Attempts) -> None:
    outcome = refused(attempts, JobDef(name="j", command="true", shell="/no/such/shell"))
    assert outcome.exit_code == 127
    assert outcome.error == "/no/such/shell: there is no such file; mend the command"


def test_script_with_an_unknown_interpreter(attempts: Attempts) -> None:
    script = attempts.directory / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    outcome = refused(attempts, JobDef(name="j", command=(str(script),)))
    assert outcome.exit_code == 127
    assert "the interpreter named in its first line does not exist" in (outcome.error or "")


def test_script_that_is_not_executable(attempts: Attempts) -> None:
    script = attempts.directory / "script"
    script.write_text("#!/bin/sh\n")
    outcome = refused(attempts, JobDef(name="j", command=(str(script),)))
    assert outcome.exit_code == 126
    assert "chmod +x" in (outcome.error or "")


def test_file_that_is_no_program(attempts: Attempts) -> None:
    script = attempts.directory / "script"
    script.write_text("true\n")
    script.chmod(0o755)
    outcome = refused(attempts, JobDef(name="j", command=(str(script),)))
    assert outcome.exit_code == 126
    assert "#!/bin/sh" in (outcome.error or "")


def test_missing_working_directory(attempts: Attempts) -> None:
    outcome = refused(attempts, JobDef(name="j", command="true", cwd="/no/such/place"))
    assert outcome.exit_code is None
    assert outcome.error == (
        "working directory /no/such/place does not exist; create it or set cwd of job j"
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"user": "no-such-user"}, "user no-such-user of job j does not exist on this host"),
        ({"group": "no-such-group"}, "group no-such-group of job j does not exist on this host"),
        ({"env_file": ("/no/such/env",)}, "env_file /no/such/env cannot be read"),
        ({"command": None}, "job j has no command"),
        ({"only_if": "true", "shell": "/none"}, "/none: there is no such file"),
    ],
)
def test_definition_that_does_not_fit_this_host(
    attempts: Attempts, more: dict[str, object], text: str
) -> None:
    outcome = refused(attempts, JobDef(**{"name": "j", "command": "true", **more}))
    assert text in (outcome.error or "")


def test_null_byte_in_an_argument(attempts: Attempts) -> None:
    outcome = refused(attempts, JobDef(name="j", command="true"), args=("a\0b",))
    assert "null byte" in (outcome.error or "")


def test_too_many_arguments(attempts: Attempts) -> None:
    outcome = refused(attempts, JobDef(name="j", command="true"), args=("x" * 4_000_000,))
    assert "too long for the kernel" in (outcome.error or "")


def test_no_room_for_the_log(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        attempts.dirs.spool.joinpath("test.0.log").mkdir()
        refused = await slot.execute(attempts.specify("true"))
        attempts.dirs.spool.joinpath("test.0.log").rmdir()
        assert (await slot.execute(attempts.specify("true"))).kind is OutcomeKind.SUCCEEDED
        return refused

    outcome = attempts.inside(scenario)
    assert outcome.reason is Reason.SPAWN
    assert "cannot be written: Is a directory" in (outcome.error or "")


def test_used_up_descriptors_harm_no_later_run(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        assert (await slot.execute(attempts.specify("true"))).kind is OutcomeKind.SUCCEEDED
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with os.scandir("/proc/self/fd") as entries:
            top = max(int(entry.name) for entry in entries)
        # From no descriptor left to plenty: every step of a start fails once.
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 12, before[1]))
        taken: list[int] = []
        outcomes = []
        try:
            while True:
                try:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
                except OSError as error:
                    assert error.errno == errno.EMFILE  # noqa: PT017 - and stop there
                    break
            while taken:
                outcomes.append(await slot.execute(attempts.specify("sleep 0.01 & echo x")))
                os.close(taken.pop())
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert {one.kind for one in outcomes} == {OutcomeKind.NOT_STARTED, OutcomeKind.SUCCEEDED}
        assert all(
            "Too many open files" in (one.error or "")
            for one in outcomes
            if one.kind is OutcomeKind.NOT_STARTED
        )
        return await slot.execute(attempts.specify("true"))

    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED


def test_prepared_jobs_are_known_by_object() -> None:
    launches = Launches(tools=None)
    job, reloaded = (JobDef(name="j", command="true", env={"A": value}) for value in "12")
    first = launches.prepare(job, "UTC")
    assert launches.prepare(job, "UTC") is first
    assert launches.prepare(job, "Asia/Tokyo").environment["TZ"] == "Asia/Tokyo"
    assert launches.prepare(reloaded, "UTC").environment["A"] == "2"


def test_home_in_cwd_is_that_of_the_jobs_user() -> None:
    launch = Launches(tools=None).prepare(JobDef(name="j", command="true", cwd="~/data"), "UTC")
    assert launch.cwd == launch.environment["HOME"] + "/data"


def test_only_root_may_start_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(SpawnError, match="only root can arrange"):
        Launches(tools=None).prepare(JobDef(name="j", command="true", user="daemon"), "UTC")


def test_number_without_a_name_is_a_user_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    launch = Launches(tools=None).prepare(JobDef(name="j", command="true"), "UTC")
    assert (launch.environment["USER"], launch.cwd) == ("4242", "/")
