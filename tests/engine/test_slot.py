from __future__ import annotations

import asyncio
import json
import os
import pwd
import resource
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_attempts import Attempts, alive, until

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.slot import Slot
from jobctl.engine.tree import TreeTable
from jobctl.engine.workplace import Workplace
from jobctl.model.job import EXEC_JOB, JobDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.model.run import Outcome

HOME = pwd.getpwuid(os.geteuid()).pw_dir


def test_command_succeeds_and_prints(attempts: Attempts) -> None:
    outcome = attempts.execute("echo out; echo err >&2")
    assert (outcome.kind, outcome.reason, outcome.exit_code) == (OutcomeKind.SUCCEEDED, None, 0)
    assert attempts.log == "out\nerr\n"
    assert outcome.log_bytes == 8
    assert outcome.pid is not None
    assert outcome.finished_at == pytest.approx(outcome.started_at + outcome.duration)


def test_silent_command_leaves_no_file(attempts: Attempts) -> None:
    outcome = attempts.execute("true")
    assert outcome.log_bytes == 0
    assert not attempts.log_path.exists()
    assert [entry.name for entry in attempts.dirs.spool.iterdir()] == ["test.0.log"]


def test_exit_code_is_passed_on(attempts: Attempts) -> None:
    outcome = attempts.execute("exit 7")
    assert (outcome.kind, outcome.reason, outcome.exit_code, outcome.error) == (
        OutcomeKind.FAILED,
        Reason.EXIT,
        7,
        "exit code 7",
    )


def test_death_by_signal_has_no_exit_code(attempts: Attempts) -> None:
    outcome = attempts.execute("kill -SEGV $$")
    assert (outcome.reason, outcome.exit_code, outcome.signal) == (Reason.SIGNAL, None, 11)


def test_signal_that_a_shell_reports_keeps_its_code(attempts: Attempts) -> None:
    outcome = attempts.execute("sh -c 'kill -TERM $$'; exit $?")
    assert (outcome.reason, outcome.exit_code, outcome.signal) == (Reason.SIGNAL, 143, 15)


def test_arguments_never_become_shell_text(attempts: Attempts) -> None:
    job = JobDef(name="greet", command='printf "%s|" "$0" "$@"; echo "$JOBCTL_ARG_NOTE"')
    attempts.execute(job, args=("a b", "$(echo x)", 3, None), kwargs={"note": "`id`; 'q'"})
    assert attempts.log == "greet|a b|$(echo x)|3|null|`id`; 'q'\n"


def test_list_is_executed_without_a_shell(attempts: Attempts) -> None:
    job = JobDef(name="j", command=("printf", "%s|", "$HOME", "*"))
    attempts.execute(job, args=("more",))
    assert attempts.log == "$HOME|*|more|"


def test_exec_job_takes_its_command_from_the_arguments(attempts: Attempts) -> None:
    attempts.execute(JobDef(name=EXEC_JOB, command=("@args",)), args=("echo", "a b"))
    assert attempts.log == "a b\n"


def test_attempt_sees_exactly_its_environment(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAEMON_SECRET", "x")
    attempts.execute(
        JobDef(name="j", command=("env",), env={"MINE": "1"}),
        supervisor="s1",
        timezone="Asia/Tokyo",
    )
    found = dict(line.split("=", 1) for line in attempts.log.splitlines())
    spool = attempts.dirs.spool / f"test.0.{attempts.spec.run_id}.1"
    assert found.pop("PATH").startswith("/usr/local/sbin:")
    assert found == {
        "HOME": HOME,
        "USER": pwd.getpwuid(os.geteuid()).pw_name,
        "LOGNAME": pwd.getpwuid(os.geteuid()).pw_name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TZ": "Asia/Tokyo",
        "MINE": "1",
        "JOBCTL_RUN_ID": attempts.spec.run_id,
        "JOBCTL_JOB": "j",
        "JOBCTL_ATTEMPT": "1",
        "JOBCTL_MAX_ATTEMPTS": "1",
        "JOBCTL_QUEUE": "default",
        "JOBCTL_TRIGGER": "manual",
        "JOBCTL_SCHEDULED_AT": "",
        "JOBCTL_RESULT_FILE": f"{spool}.result",
        "JOBCTL_PROGRESS_FILE": f"{spool}.progress",
        "JOBCTL_SUPERVISOR": "s1",
    }


def test_changed_env_file_needs_no_reload(attempts: Attempts) -> None:
    file = attempts.directory / "env"
    job = JobDef(name="j", command="echo $A", env_file=(str(file),))
    logs = []
    for value in "12":
        file.write_text(f"A={value}\n")
        attempts.execute(job)
        logs.append(attempts.log)
    assert logs == ["1\n", "2\n"]


def test_cwd_is_the_home_directory_unless_set(attempts: Attempts) -> None:
    attempts.execute("pwd")
    assert attempts.log == (f"{HOME}\n" if Path(HOME).is_dir() else "/\n")
    attempts.execute(JobDef(name="j", command="pwd", cwd=str(attempts.directory)))
    assert attempts.log == f"{attempts.directory}\n"


def test_leader_has_its_own_session_and_nothing_else_open(attempts: Attempts) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)  # noqa: FBT003
    code = (
        "import os; print(os.getsid(0) == os.getpid() == os.getpgrp(), "
        "sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1], os.readlink('/proc/self/fd/0'))"
    )
    attempts.execute(JobDef(name="j", command=(sys.executable, "-c", code)))
    os.close(fd)
    assert attempts.log == "True [0, 1, 2] /dev/null\n"


def test_stdin_text_is_read_to_its_end(attempts: Attempts) -> None:
    attempts.execute(JobDef(name="j", command="cat | wc -c", stdin="ü" * 100_000))
    assert attempts.log == "200000\n"


@pytest.mark.parametrize(("umask", "seen"), [(None, "0022"), (0o077, "0077")])
def test_umask_is_the_jobs_not_the_daemons(
    attempts: Attempts, umask: int | None, seen: str
) -> None:
    before = os.umask(0o027)
    try:
        attempts.execute(JobDef(name="j", command="umask", umask=umask))
    finally:
        os.umask(before)
    assert attempts.log == f"{seen}\n"


def test_nice_holds_for_the_whole_group(attempts: Attempts) -> None:
    attempts.execute(JobDef(name="j", command="nice; sh -c nice", nice=7))
    assert attempts.log == "7\n7\n"


def test_signals_that_the_daemon_ignores_work_in_jobs(attempts: Attempts) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        outcome = attempts.execute("kill -HUP $$; echo survived")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert outcome.signal == signal.SIGHUP


@pytest.mark.usefixtures("root")
def test_higher_priority_is_given_to_another_user_too(attempts: Attempts) -> None:
    command = "while [ $(nice) = 0 ]; do sleep 0.01; done; nice; id -un"
    attempts.execute(JobDef(name="j", command=command, nice=-3, user="nobody", cwd="/"))
    assert attempts.log == "-3\nnobody\n"


@pytest.mark.usefixtures("root")
def test_other_user_gets_groups_home_and_result_file(attempts: Attempts) -> None:
    for directory in (attempts.directory, *attempts.directory.parents):
        if not directory.stat().st_mode & 1:
            directory.chmod(directory.stat().st_mode | 0o011)
    (attempts.directory / "state").mkdir(mode=0o711)
    job = JobDef(
        name="j",
        command='id -un; id -G; echo $HOME; pwd; echo 5 > "$JOBCTL_RESULT_FILE"; '
        'echo 1 >> "$JOBCTL_PROGRESS_FILE"',
        user="nobody",
    )
    outcome = attempts.execute(job)
    nobody = pwd.getpwnam("nobody")
    assert attempts.log == f"nobody\n{nobody.pw_gid}\n{nobody.pw_dir}\n/\n"
    assert outcome.result == "5"
    assert outcome.kind is OutcomeKind.SUCCEEDED


@pytest.mark.parametrize(
    ("condition", "kind", "reason"),
    [
        ("true", OutcomeKind.SUCCEEDED, None),
        ("exit 3", OutcomeKind.SKIPPED, Reason.CONDITION),
    ],
)
def test_condition_decides_whether_the_job_runs(
    attempts: Attempts, condition: str, kind: OutcomeKind, reason: Reason | None
) -> None:
    outcome = attempts.execute(JobDef(name="j", command="echo ran", only_if=condition))
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert ("ran" in attempts.log) == (kind is OutcomeKind.SUCCEEDED)


def test_condition_has_the_environment_of_the_job(attempts: Attempts) -> None:
    job = JobDef(name="j", command="true", only_if='test "$A" = 1', env={"A": "1"})
    assert attempts.execute(job).kind is OutcomeKind.SUCCEEDED


def test_condition_without_end_is_a_timeout(attempts: Attempts) -> None:
    outcome = attempts.execute(JobDef(name="j", command="true", only_if="sleep 60"), timeout=0.1)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
    assert outcome.error == "only_if did not end within its timeout of 0.1 s"


def test_result_file_is_taken(attempts: Attempts) -> None:
    outcome = attempts.execute("""echo '{"rows": 3}' > "$JOBCTL_RESULT_FILE" """)
    assert json.loads(outcome.result or "") == {"rows": 3}
    assert [entry.name for entry in attempts.dirs.spool.iterdir()] == ["test.0.log"]


def test_failed_command_may_have_a_result(attempts: Attempts) -> None:
    outcome = attempts.execute('echo why > "$JOBCTL_RESULT_FILE"; exit 1')
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, '"why"')


def test_too_large_a_result_fails_the_attempt(attempts: Attempts) -> None:
    outcome = attempts.execute('echo 12345 > "$JOBCTL_RESULT_FILE"', max_result=3)
    assert (outcome.kind, outcome.reason, outcome.result) == (
        OutcomeKind.FAILED,
        Reason.RESULT,
        None,
    )
    assert "6 bytes, 3 are allowed" in (outcome.error or "")


def test_progress_is_seen_while_the_job_runs_and_after(attempts: Attempts) -> None:
    seen: list[str | None] = []

    async def scenario(slot: Slot) -> Outcome:
        spec = attempts.specify(
            'echo "40 half" >> "$JOBCTL_PROGRESS_FILE"; while [ ! -e go ]; do sleep 0.01; done; '
            'echo 100 >> "$JOBCTL_PROGRESS_FILE"'
        )
        job = JobDef(name="j", command=spec.job.command, cwd=str(attempts.directory))
        attempt = asyncio.ensure_future(slot.execute(attempts.specify(job)))
        await until(lambda: seen.append(slot.poll_progress()) or seen[-1])
        assert slot.poll_progress() is None
        (attempts.directory / "go").touch()
        outcome = await attempt
        seen.append(slot.poll_progress())
        return outcome

    attempts.inside(scenario)
    assert [json.loads(one) for one in seen if one] == [
        {"percent": 40, "message": "half"},
        {"percent": 100, "message": ""},
    ]


def test_log_can_be_read_while_it_grows(attempts: Attempts) -> None:
    job = JobDef(
        name="j",
        command="echo one; while [ ! -e go ]; do sleep 0.01; done; echo two",
        cwd=str(attempts.directory),
    )

    async def follow(slot: Slot) -> None:
        await until(lambda: attempts.log == "one\n", what="output under the run's name")
        assert slot.log_path == attempts.log_path
        assert slot.log_size == 4
        assert slot.read_log(0, 100) == (b"one\n", 4)
        (attempts.directory / "go").touch()

    outcome = attempts.execute(job, meanwhile=follow)
    assert attempts.log == "one\ntwo\n"
    assert outcome.log_bytes == 8


def test_flood_is_cut_while_the_job_goes_on(attempts: Attempts) -> None:
    outcome = attempts.execute("yes | head -c 50000000; echo the end", max_output=100_000)
    text = attempts.log
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.log_truncated
    assert outcome.log_bytes == len(text) <= 100_000
    assert text.startswith("y\ny\n")
    assert text.endswith("y\nthe end\n")
    assert "bytes dropped here" in text


def test_output_can_go_elsewhere(attempts: Attempts) -> None:
    target = attempts.directory / "terminal"
    fd = os.open(target, os.O_WRONLY | os.O_CREAT)

    async def scenario(slot: Slot) -> Outcome:
        return await slot.execute(attempts.specify("echo here"), output=fd)

    outcome = attempts.inside(scenario)
    os.close(fd)
    assert target.read_text() == "here\n"
    assert (outcome.kind, outcome.log_bytes) == (OutcomeKind.SUCCEEDED, 0)
    assert list(attempts.dirs.logs.iterdir()) == []


def test_usage_counts_what_the_command_waited_for(attempts: Attempts) -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    outcome = attempts.execute(f"{shlex.quote(sys.executable)} -c {shlex.quote(burn)}; true")
    assert 0.15 < outcome.usage.user + outcome.usage.system < 2


def test_peak_of_memory_is_not_that_of_the_daemon(attempts: Attempts) -> None:
    assert attempts.execute("true").usage.max_rss == 0
    daemon = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    hungry = f"{shlex.quote(sys.executable)} -c 'x = b\"x\" * {2 * daemon}'; true"
    assert attempts.execute(hungry).usage.max_rss > 2 * daemon


def test_tree_above_max_rss_is_stopped(attempts: Attempts) -> None:
    hungry = (
        f"{shlex.quote(sys.executable)} -c 'import time; x = b\"x\" * 60_000_000; time.sleep(60)'"
    )
    job = JobDef(name="j", command=f"({hungry}) & wait", max_rss=50_000_000, stop_timeout=0.2)

    async def sample(slot: Slot) -> None:
        def sampled() -> bool:
            slot.sample(TreeTable())
            return slot.meter.rss > 50_000_000

        await until(sampled, what="use of memory")

    outcome = attempts.execute(job, meanwhile=sample)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.MEMORY)
    assert outcome.usage.max_rss > 50_000_000
    assert "max_rss is 50000000" in (outcome.error or "")


def test_many_attempts_run_side_by_side(attempts: Attempts) -> None:
    async def scenario() -> list[Outcome]:
        place = Workplace.open(dirs=attempts.dirs, clock=SYSTEM_CLOCK)
        slots = [Slot(name=f"test.{number}", workplace=place) for number in range(8)]

        async def work(slot: Slot) -> list[Outcome]:
            return [
                await slot.execute(
                    attempts.specify('echo "$JOBCTL_RUN_ID"; test "$JOBCTL_RUN_ID" != x')
                )
                for _ in range(10)
            ]

        found = await asyncio.gather(*map(work, slots))
        place.close()
        return [outcome for outcomes in found for outcome in outcomes]

    outcomes = asyncio.run(scenario())
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.SUCCEEDED}
    logs = {path.name: path.read_text() for path in attempts.dirs.logs.glob("job/*.log")}
    assert len(logs) == 80
    assert all(name == f"{text.strip()}.1.log" for name, text in logs.items())


def test_process_does_not_run_on_when_its_start_is_not_noted(attempts: Attempts) -> None:
    pids = []

    def fail(pid: int, _started_at: float) -> None:
        pids.append(pid)
        raise LookupError

    async def scenario(slot: Slot) -> Outcome:
        with pytest.raises(LookupError):
            await slot.execute(attempts.specify("sleep 60"), on_start=fail)
        await until(lambda: not alive(pids[0]))
        return await slot.execute(attempts.specify("true"))

    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED


def test_slot_starts_clean_after_a_crashed_pool(attempts: Attempts) -> None:
    attempts.dirs.create()
    stale = attempts.dirs.spool / "test.0.log"
    stale.write_text("of a run that nobody knows\n")
    with Path(stale).open("a") as survivor:
        outcome = attempts.execute("true")
        survivor.write("more")
    assert outcome.log_bytes == 0


def test_spool_that_somebody_removed_is_made_again(attempts: Attempts) -> None:
    attempts.execute("echo one")
    shutil.rmtree(attempts.dirs.spool)
    attempts.execute("echo two")
    assert attempts.log == "two\n"
