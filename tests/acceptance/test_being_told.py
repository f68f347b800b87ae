"""Stories about being told: mails, calls and hooks, with real servers and a real daemon."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from tests.acceptance.host import Host, wait_until
from tests.listeners import MailServer, WebServer, free_port, wait_for

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore


def mail_table(server: MailServer) -> str:
    return f'[mail]\nsmtp = "{server.url}"\nsender = "jobctl@test.example"\n'


def test_a_failure_is_mailed_with_what_is_known_and_its_output(host: Host) -> None:
    with MailServer() as post:
        host.write(
            mail_table(post)
            + '[jobs.backup]\nmail_to = ["ops@test.example", "root"]\n'
            + "command = \"printf 'one\\\\ntw\\\\303\\\\266\\\\n'; exit 3\"\n"
        )
        host.start()
        run_id = host.submit("backup")

        (mail,) = post.wait()

    assert mail.to == ["ops@test.example", "root"]
    assert mail.sender == "jobctl@test.example"
    assert mail.subject == "[jobctl] backup on host-a: failed (exit 3)"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert run_id in str(mail.message["Message-ID"])
    assert "exit code:  3" in mail.text
    assert run_id in mail.text
    assert "  twö\n" in mail.text
    assert mail.attachments == ["one\ntwö\n"]


def test_success_is_not_mailed_but_recovery_is(host: Host) -> None:
    with MailServer() as post:
        host.write(
            mail_table(post)
            + f'[jobs.flaky]\nmail_to = "root"\ncommand = "test -e {host.directory}/well"\n'
        )
        host.start()
        first = host.submit("flaky")
        host.wait_state(first, "failed")
        post.wait()
        (host.directory / "well").touch()
        for _ in range(2):
            host.wait_state(host.submit("flaky"), "succeeded")
        post.wait(2)
        host.stop()

        assert [mail.subject for mail in post.mails] == [
            "[jobctl] flaky on host-a: failed (exit 1)",
            "[jobctl] flaky on host-a: recovered (after 1 failure)",
        ]


def test_any_output_is_mailed_in_the_way_of_cron(host: Host) -> None:
    with MailServer() as post:
        host.write(
            mail_table(post)
            + '[defaults]\nmail_to = "root"\nmail_on = "output"\n'
            + '[jobs.silent]\ncommand = "true"\n[jobs.loud]\ncommand = "echo hello"\n'
        )
        host.start()
        host.wait_state(host.submit("silent"))
        host.wait_state(host.submit("loud"))
        post.wait()
        host.stop()

        assert [mail.subject for mail in post.mails] == ["[jobctl] loud on host-a: succeeded"]
        assert post.mails[0].attachments == ["hello\n"]


def test_a_job_is_pinged_at_start_and_end(host: Host) -> None:
    with WebServer() as web:
        host.write(
            f'[jobs.good]\nping_url = "{web.url}/good"\ncommand = "echo done"\n'
            f'[jobs.bad]\nping_url = "{web.url}/bad/?a=b"\ncommand = "echo oh; exit 4"\n'
        )
        host.start()
        host.wait_state(host.submit("good"))
        web.wait(2)
        host.wait_state(host.submit("bad"))
        calls = web.wait(4)

    assert web.paths == ["/good/start", "/good", "/bad/start", "/bad/4"]
    assert [call.body for call in calls] == [b"", b"done\n", b"", b"oh\n"]
    assert calls[0].query == calls[1].query
    assert calls[0].query.startswith("rid=")
    assert calls[2].query.startswith("a=b&rid=")
    assert {call.method for call in calls} == {"POST"}


def test_hooks_run_and_are_told_about_what(host: Host) -> None:
    told = f"echo $JOBCTL_TRIGGER $JOBCTL_PARENT_JOB $JOBCTL_PARENT_STATE $JOBCTL_PARENT_REASON $JOBCTL_PARENT_EXIT_CODE $JOBCTL_PARENT_ATTEMPT $JOBCTL_PARENT_RUN_ID >> {host.directory}"
    host.write(
        "[jobs.work]\nretries = 1\nretry_delay = '0s'\non_failure = 'failed'\non_retry = 'again'\n"
        "on_success = 'well'\ncommand = 'exit $0'\n"
        f"[jobs.failed]\ncommand = '{told}/failed'\n"
        f"[jobs.again]\ncommand = '{told}/again'\n"
        f"[jobs.well]\ncommand = '{told}/well'\n"
    )
    host.config.write_text(host.config.read_text().replace("'exit $0'", "'exit $1'"))
    host.start()
    bad = host.submit("work", "5")
    good = host.submit("work", "0")

    wait_until(lambda: host.lines("failed") and host.lines("well") and host.lines("again"))

    assert host.lines("failed") == [f"hook work failed exit 5 2 {bad}"]
    assert host.lines("again") == [f"hook work retrying exit 5 1 {bad}"]
    assert host.lines("well") == [f"hook work succeeded 0 1 {good}"]
    (run,) = host.runs("--job", "failed")
    assert run["trigger"] == "hook"
    assert host.inspect(run["id"])["parent"]["id"] == bad


def test_a_hook_for_all_jobs_is_not_told_of_itself(host: Host) -> None:
    host.write(
        "[defaults]\non_failure = 'tell'\n[jobs.work]\ncommand = 'exit 1'\n"
        "[jobs.tell]\ncommand = 'exit 1'\n"
    )
    host.start()
    host.submit("work")
    wait_until(lambda: host.runs("--job", "tell", "--state", "failed"))
    host.stop()
    host.start()
    assert len(host.runs("--job", "tell")) == 1


def test_notices_wait_for_a_supervisor_that_comes_after_one_that_was_killed(host: Host) -> None:
    port = free_port()
    host.write(
        f'[mail]\nsmtp = "smtp://127.0.0.1:{port}"\n'
        f'[jobs.bad]\nmail_to = "root"\nping_url = "http://127.0.0.1:{port}"\ncommand = "exit 1"\n'
    )
    daemon = host.start()
    run_id = host.submit("bad")
    host.wait_state(run_id)
    wait_until(lambda: "it is tried again" in host.log, what="the first failure")
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    with MailServer(port=port) as post:
        host.start()
        (mail,) = post.wait()
    assert run_id in mail.text


def test_a_server_that_hangs_holds_up_nothing_else(host: Host) -> None:
    with MailServer() as post, WebServer() as web, WebServer() as stuck:
        stuck.hangs.set()
        host.write(
            mail_table(post)
            + f'[jobs.a]\nping_url = "{stuck.url}"\nmail_to = "root"\ncommand = "exit 1"\n'
            + f'[jobs.b]\nping_url = "{web.url}"\ncommand = "true"\n'
        )
        host.start()
        for _ in range(4):
            host.wait_state(host.submit("a"))
        wait_for(lambda: stuck.tried)
        host.wait_state(host.submit("b"))
        web.wait(2)
        post.wait()
        assert stuck.calls == []
        host.stop()


def test_two_supervisors_tell_once(host: Host, server: EmbeddedStore) -> None:
    url = f"unix://{server.address.path}"
    namespace = f"namespace = 'tell-{host.directory.name}'"
    with MailServer() as post, WebServer() as web:
        jobs = (
            mail_table(post)
            + f'[jobs.bad]\nmail_to = "root"\nmail_on = "always"\nping_url = "{web.url}"\n'
            + f"on_failure = 'tell'\ncommand = 'exit 1'\n[jobs.tell]\ncommand = 'echo x >> {host.directory}/told'\n"
        )
        host.redis = url
        host.write(jobs, settings=namespace)
        other = Host(redis=url, name="host-b")
        other.write(jobs, settings=namespace)
        try:
            host.start()
            other.start()
            for _ in range(5):
                host.submit("bad")
            post.wait(5)
            web.wait(10)
            wait_until(lambda: len(host.lines("told")) == 5)
        finally:
            host.stop()
            other.stop()
            other.close()
        assert len(post.mails) == 5
        assert len(web.calls) == 10


def test_a_run_that_starts_late_is_mailed(host: Host) -> None:
    with MailServer() as post:
        host.write(
            mail_table(post)
            + '[pools.default]\nslots = 1\n[jobs.long]\ncommand = "sleep 100"\n'
            + '[jobs.work]\nmail_to = "root"\nlate_after = "1s"\ncommand = "true"\n'
        )
        host.start()
        host.wait_state(host.submit("long"), "running")
        host.submit("work")
        (mail,) = post.wait()
        host.run("revoke", "--all", "--yes", "--job", "work")
        host.run("revoke", "--all", "--yes", "--job", "long")
    assert mail.subject == "[jobctl] work on host-a: late"
    assert "has not started within 1s of its time" in mail.text


def test_a_job_that_fails_again_and_again_is_paused_and_says_so(host: Host) -> None:
    with MailServer() as post:
        host.write(
            mail_table(post)
            + '[jobs.bad]\nmail_to = "root"\npause_after_failures = 3\nschedule = "@every 1s"\n'
            + f"command = 'echo x >> {host.directory}/tries; exit 1'\n"
        )
        host.start()
        mails = post.wait(2)
        wait_until(lambda: "switched off" in host.log, what="the pause")
        tries = len(host.lines("tries"))
        host.stop()

    assert [mail.subject for mail in mails] == [
        "[jobctl] bad on host-a: failed (exit 1)",
        "[jobctl] bad on host-a: paused (exit 1)",
    ]
    assert "failed 3 times in a row" in mails[1].text
    assert tries in (3, 4)


def test_a_program_takes_the_mails_and_its_exit_codes_are_heard(host: Host) -> None:
    program = host.directory / "sendmail"
    program.write_text(
        f'#!/bin/sh\ncat > {host.directory}/mail.$$; echo "$*" >> {host.directory}/sent\n'
        f"test -e {host.directory}/well || exit 75\n"
    )
    program.chmod(0o755)
    host.write(
        f'[mail]\nsendmail = "{program}"\n[jobs.bad]\nmail_to = "root"\nmail_every = 0\ncommand = "exit 1"\n'
    )
    host.start()
    host.wait_state(host.submit("bad"))
    wait_until(lambda: "ended with 75" in host.log, what="the first failure")
    (host.directory / "well").touch()
    wait_until(lambda: len(host.lines("sent")) == 2, what="the second try")
    wait_until(lambda: "is delivered" in host.log, what="the end of it")
    for _ in range(5):
        host.submit("bad")
    wait_until(lambda: len(host.lines("sent")) == 7, what="all of them")
    host.stop()

    assert set(host.lines("sent")) == {"-i -- root"}
    assert "was not delivered" not in host.log


def test_a_daemon_that_stops_tells_first(host: Host) -> None:
    with MailServer() as post:
        host.write(mail_table(post) + '[jobs.bad]\nmail_to = "root"\ncommand = "exit 1"\n')
        host.start()
        host.wait_state(host.submit("bad"))
        host.stop()
        post.wait()
        host.start("--burst").wait(30)
    assert len(post.mails) == 1


def test_doctor_tells_of_what_was_given_up(host: Host) -> None:
    with WebServer(status=404) as web:
        host.write(f'[jobs.a]\nping_url = "{web.url}"\ncommand = "true"\n')
        host.start()
        host.wait_state(host.submit("a"))
        wait_until(lambda: host.log.count("was not delivered") == 2)
    checks = {item["name"]: item for item in json.loads(host.run("doctor", "--json"))["checks"]}
    assert checks["notices"]["status"] == "warning"
    assert checks["notices"]["detail"].startswith("2 were given up")
    assert "mail" not in checks


def test_doctor_tries_the_mail_server(host: Host) -> None:
    host.write(
        f'[mail]\nsmtp = "smtp://127.0.0.1:{free_port()}"\n[jobs.a]\nmail_to = "root"\ncommand = "true"\n'
    )
    host.start()
    document = json.loads(host.run("doctor", "--json", code=1))
    checks = {item["name"]: item for item in document["checks"]}
    assert checks["mail"]["status"] == "error"
    assert "does not answer" in checks["mail"]["detail"]


@pytest.mark.slow
def test_another_supervisor_tells_for_one_that_died(host: Host, server: EmbeddedStore) -> None:
    port = free_port()
    jobs = (
        f'[mail]\nsmtp = "smtp://127.0.0.1:{port}"\n'
        '[jobs.bad]\nmail_to = "root"\ncommand = "exit 1"\n'
    )
    host.redis = f"unix://{server.address.path}"
    namespace = f"namespace = 'dies-{host.directory.name}'"
    host.write(jobs, settings=namespace)
    other = Host(redis=host.redis, name="host-b")
    other.write(jobs, settings=namespace)
    try:
        daemon = host.start()
        run_id = host.submit("bad")
        wait_until(lambda: "it is tried again" in host.log, what="the first failure")
        daemon.kill()
        daemon.wait()
        other.start()
        with MailServer(port=port) as post:
            wait_for(lambda: post.mails or None, "a mail", deadline=90.0)
        assert run_id in post.mails[0].text
    finally:
        other.stop()
        other.close()


def test_what_was_missed_while_nobody_was_up_is_told_once(
    host: Host, store: BlockingStore, server: EmbeddedStore
) -> None:
    host.redis = f"unix://{server.address.path}"
    name = f"missed-{host.directory.name}"
    key = Keys(name).schedule("work")
    with MailServer() as post:
        host.write(
            mail_table(post)
            + '[jobs.work]\nmail_to = "root"\nlate_after = "1m"\nschedule = "@every 1h"\n'
            + 'command = "true"\n',
            settings=f"namespace = '{name}'",
        )
        host.start()
        wait_until(lambda: store.run(Call(("EXISTS", key), bool)), what="the schedule")
        host.stop()
        assert post.mails == []
        # As if the host had been down for three and a half hours.
        long_ago = round((time.time() - 3.5 * 3600) * 1000)
        store.run(Call(("HSET", key, "last", long_ago), bool))
        host.start()
        (mail,) = post.wait()
        host.stop()
    assert mail.subject == "[jobctl] work on host-a: missed"
    assert len(post.mails) == 1
