"""Every verb, argument and option of ``jobctl``, as data: the only place that declares them.

The quick parser, the Typer application with its help, the completions and the reference are all
made from this. Nothing here is expensive to import.
"""

from __future__ import annotations

from jobctl.cli.verb import Argument, Option, Verb
from jobctl.cli.verbs_of_runs import RUNS

EVERYWHERE = (
    Option("--config", "-c", metavar="FILE", complete="file",
           help="Use this jobs.toml (also JOBCTL_CONFIG; else the first of ./jobs.toml, "
                "$XDG_CONFIG_HOME/jobctl/jobs.toml, /etc/jobctl/jobs.toml)."),
    Option("--json", help="Write JSON to stdout, and errors as JSON to stderr."),
    Option("--quiet", "-q", help="No talk on stderr, only errors."),
)  # fmt: skip
"""Options of every verb."""

_JOBS = (
    Verb(
        "jobs", "jobs:jobs", panel="Jobs", help="The jobs of jobs.toml: schedule, next and last run.",
        examples=("jobctl jobs",),
    ),
    Verb(
        "next", "next:upcoming", panel="Jobs", help="When jobs run next, or what an expression means.",
        examples=("jobctl next -n 5", "jobctl next backup",
                  "jobctl next --schedule '30 2 * * 1-5' --timezone Europe/Berlin"),
        arguments=(Argument("job", help="Only this job.", required=False, complete="jobs"),),
        options=(
            Option("--number", "-n", metavar="N", help="So many; default 10."),
            Option("--from", metavar="TIME", help="After this instant, ISO 8601; default: now."),
            Option("--schedule", metavar="EXPR", help="Instead of the jobs: any schedule, as in jobs.toml."),
            Option("--timezone", metavar="ZONE", help="The zone of --schedule and of times without an offset."),
            Option("--explain", help="With --json: also what each schedule means, and what changes of the clock do to it."),
        ),
    ),
    Verb(
        "calendar", "calendar:calendar", panel="Jobs",
        help="Draw when runs start, minute by minute, so that crowds at full hours are seen.",
        examples=("jobctl calendar", "jobctl calendar --days 7", "jobctl calendar --job backup --from 2030-03-31T00:00"),
        options=(
            Option("--days", metavar="N", help="So many days, added up by the hour of the day; default 1."),
            Option("--job", metavar="JOB", many=True, complete="jobs", help="Only this job; repeatable."),
            Option("--from", metavar="TIME", help="From the hour of this instant on, ISO 8601; default: now."),
            Option("--timezone", metavar="ZONE", help="The zone of the drawing and of times without an offset."),
        ),
    ),
    Verb(
        "schedule", "schedule:schedule", panel="Jobs",
        help="How schedules stand, what became of their instants, and orders to them.\n\n"
             "list (the default) shows all; show the decided instants of one, newest first: fired, late, caught up, "
             "skipped, missed, disabled, and why; next, when it runs. enable and disable work at once, on every host; what is let go "
             "meanwhile is never made up for. trigger makes a run now as the schedule would. skip-to lets go what is "
             "still to be decided up to a time. backfill makes a run for each instant of a range in the past that has "
             "none. add keeps a new schedule in the store, set changes one (also of jobs.toml), rm takes either back.",
        examples=(
            "jobctl schedule",
            "jobctl schedule show backup",
            "jobctl schedule disable backup --until 2030-12-27T06:00",
            "jobctl schedule disable backup --once",
            "jobctl schedule add quarterly --job report --schedule '0 6 1 */3 *' period=quarter",
            "jobctl schedule backfill report --from 2030-01-01 --to 2030-02-01 --dry-run",
        ),
        arguments=(
            Argument("action", required=False,
                     complete="list show next enable disable trigger skip-to backfill add set rm",
                     help="list, show, next, enable, disable, trigger, skip-to, backfill, add, set or rm; default: list."),
            Argument("name", required=False,
                     help="A schedule, or a job: all its schedules. JOB#1 is the first of several."),
            Argument("words", required=False, many=True,
                     help="add, set: arguments of its runs, as for submit. skip-to: now, or a time."),
        ),
        options=(
            Option("--number", "-n", metavar="N", help="show: so many decisions, default 20; next: so many instants, default 10."),
            Option("--until", metavar="DURATION|TIME", help="disable: switch it on again then: 2h, or ISO 8601."),
            Option("--once", help="disable: only for the next instant."),
            Option("--all", help="enable, disable: all schedules."),
            Option("--force", help="trigger, backfill: let runs overlap with others of the job."),
            Option("--from", metavar="TIME", help="backfill: from this instant on, ISO 8601."),
            Option("--to", metavar="TIME", help="backfill: before this instant; default: now."),
            Option("--max", metavar="N", help="backfill: refuse more instants than this; default 1000."),
            Option("--dry-run", help="backfill: only show what would be made."),
            Option("--job", metavar="JOB", complete="jobs", help="add: the job, which jobs.toml defines."),
            Option("--schedule", metavar="EXPR", help="add, set: when, as in jobs.toml."),
            Option("--timezone", metavar="ZONE", help="add, set: its zone; default: the job's."),
            Option("--jitter", metavar="DURATION", help="add, set: spread its starts by up to this much."),
            Option("--missed", metavar="POLICY", complete="skip once all", help="add, set: skip, once or all."),
            Option("--queue", metavar="QUEUE", complete="queues", help="add, set: queue of its runs."),
            Option("--priority", metavar="0-9", help="add, set: priority of its runs."),
            Option("--expires", metavar="DURATION", help="add, set: its runs expire when not started in this time."),
            Option("--not-before", metavar="TIME", help="add, set: no instants before this one."),
            Option("--not-after", metavar="TIME", help="add, set: no instants after this one."),
            Option("--max-runs", metavar="N", help="add, set: stop after so many runs."),
            Option("--args-json", metavar="JSON|@FILE|-", complete="file",
                   help="add, set: arguments of its runs as JSON, as for submit."),
        ),
    ),
    Verb(
        "check", "check:check", panel="Jobs",
        help="Check jobs.toml: all its problems at once, or what will run.\n\n"
             "What Python jobs name is imported, in a process of its own, as the job's user and in its interpreter, "
             "directory and environment: first the preload of its pools and the modules of their child_init and "
             "child_exit, then the job's. Hooks are looked up and never called. What cannot be imported is a warning; "
             "where the pool has a child_init, which may be what it needs, a note, which --strict lets pass. "
             "A module whose import ends the process or takes more than 15 seconds is named, and everything else "
             "is looked at without it. All this takes a minute at most.",
        examples=("jobctl check", "jobctl check -c /etc/jobctl/jobs.toml --strict"),
        options=(
            Option("--strict", help="Treat warnings as errors."),
            Option("--no-import", help='Do not import the modules of python = "module:function" and of hooks of pools to look at their functions.'),
        ),
    ),
    Verb(
        "init", "check:init", panel="Jobs", help="Write a first jobs.toml into this directory.",
        options=(Option("--force", help="Replace the one that is there."),),
    ),
    Verb(
        "import", "migration:import_", panel="Jobs",
        help="Write the jobs of cron, systemd timers or celery beat as a jobs.toml.\n\n"
             "The jobs do exactly what they did; what cannot be carried over exactly is a warning with file and "
             "line. What cannot be carried over at all stays as a comment, and the exit code is 78.",
        examples=(
            "jobctl import crontab /etc/crontab /etc/cron.d --output jobs.d/cron.toml",
            "crontab -l | jobctl import crontab - --user",
            "jobctl import systemd-timers /etc/systemd/system",
            "jobctl import celery-beat shop.celery:app --interpreter /srv/shop/.venv",
        ),
        arguments=(
            Argument("source", help="crontab, systemd-timers or celery-beat.",
                     complete="crontab systemd-timers celery-beat"),
            Argument("files", required=False, many=True, complete="file",
                     help="Crontabs or directories of them; directories of units, or timers; module:app. - is stdin."),
        ),
        options=(
            Option("--system", help="The crontabs have a user column, as /etc/crontab and /etc/cron.d."),
            Option("--user", help="They have none, as what crontab -l shows."),
            Option("--anacron", help="They are anacrontabs."),
            Option("--owner", metavar="USER", help="With --user: whose crontab it is; default: by its path, else yours."),
            Option("--native", help="Use keys of jobs.toml for what lines do with flock, timeout, nice, sleep, test."),
            Option("--expand-run-parts", help="One job for each script of the directory of a run-parts line."),
            Option("--interpreter", metavar="PATH", complete="file",
                   help="celery-beat: the virtual environment or Python of the application."),
            Option("--output", "-o", metavar="FILE", complete="file", help="Write this file instead of stdout."),
            Option("--force", help="Replace the file of --output if it is there."),
        ),
    ),
    Verb(
        "export", "migration:export", panel="Jobs",
        help="Write the jobs of jobs.toml for cron or systemd, the way back.\n\n"
             "What the other has no word for is a warning and a comment.",
        examples=("jobctl export crontab", "jobctl export systemd --output units"),
        arguments=(Argument("target", help="crontab or systemd.", complete="crontab systemd"),),
        options=(
            Option("--system", help="crontab: with a user column; default: if a job names a user."),
            Option("--user", help="crontab: without a user column."),
            Option("--output", "-o", metavar="PATH", complete="file",
                   help="Write this crontab, or units into this directory, instead of stdout."),
            Option("--force", help="Replace files that are there."),
        ),
    ),
)  # fmt: skip

_DAEMONS = (
    Verb(
        "daemon", "daemon:daemon", panel="Daemon",
        help="Schedule and run jobs, in the foreground, until stopped.\n\n"
             "Without redis in jobs.toml it starts and keeps its own private store. SIGTERM or Ctrl-C stops it in "
             "order: what runs may finish within drain_timeout; a second one stops what runs. SIGHUP reloads "
             "jobs.toml; one with errors changes nothing. SIGUSR2 replaces the process by the installed version. "
             "What runs goes on when the daemon is replaced, or killed and started again.",
        examples=("jobctl daemon", "jobctl daemon --burst", "jobctl daemon -c /etc/jobctl/jobs.toml --log-level debug"),
        options=(
            Option("--burst", help="Run what there is to run, then stop."),
            Option("--no-scheduler", help="Leave the schedules to other supervisors."),
            Option("--log-level", metavar="LEVEL", complete="debug info warning error",
                   help="debug, info, warning or error; default: $JOBCTL_LOG_LEVEL, else info."),
        ),
    ),
    *(
        Verb(
            name, f"control:{name}", panel="Daemon", help=text,
            options=(
                *more,
                Option("--host", metavar="HOST", help="Only the supervisor of this host."),
                Option("--no-wait", help="Do not wait until it is done."),
                Option("--timeout", metavar="DURATION", help="Wait at most so long, then exit 124."),
            ),
        )
        for name, text, more in (
            ("reload", "Make the running supervisors read jobs.toml again.", (
                Option("--exec", help="Replace their processes by the installed version; what runs goes on."),
            )),
            ("drain", "Make the supervisors finish what runs, however long it takes, and end.", ()),
            ("stop", "Make the supervisors finish what runs, up to drain_timeout, and end.", ()),
        )
    ),
    Verb(
        "doctor", "doctor:doctor", panel="Daemon",
        help="Check configuration, state directory, store and daemon; exits 1 when something has to be mended.",
        examples=("jobctl doctor", "jobctl doctor --json", "jobctl doctor --verify", "jobctl doctor --repair --yes"),
        options=(
            Option("--verify", help="Also read all that the store holds, and name every contradiction in it."),
            Option("--repair", help="Mend what --verify finds, for example after the store lost data; asks first."),
            Option("--dry-run", help="With --repair: only show what is found, as --verify does."),
            Option("--yes", "-y", help="With --repair: do not ask; needed where nobody can be asked."),
        ),
    ),
    Verb(
        "pool", "pool:pool", panel="Daemon",
        help="The pools of the running supervisors: their slots, and orders to them.\n\n"
             "grow and shrink change the number of slots until the pool is replaced, for example by restart or by a "
             "reload with another definition. restart replaces interpreters and pool process without losing a run.",
        examples=("jobctl pool list", "jobctl pool grow default 4", "jobctl pool restart reports --host web1"),
        arguments=(
            Argument("action", help="list, grow, shrink or restart.", complete="list grow shrink restart"),
            Argument("pool", help="Name of the pool.", required=False),
            Argument("slots", help="By how many slots; default 1.", required=False),
        ),
        options=(
            Option("--host", metavar="HOST", help="Only the supervisors of this host."),
        ),
    ),
    Verb(
        "keys", "keys:keys", panel="Daemon",
        help="The keys that sign runs and orders.\n\n"
             "init makes the key file, list shows the ids; add makes a key that is accepted only, use makes one "
             "sign, rotate does both at once, retire removes one. The secrets stay in the file.",
        examples=("jobctl keys init", "jobctl keys list", "jobctl keys rotate"),
        arguments=(
            Argument("action", help="init, list, add, use, rotate or retire.", complete="init list add use rotate retire"),
            Argument("key", help="Id of the key to use or to retire.", required=False),
        ),
        options=(
            Option("--file", metavar="FILE", complete="file", help="Another key file than that of jobs.toml."),
        ),
    ),
    Verb(
        "demo", "demo:demo", panel="Daemon",
        help="Show everything once, in a scratch directory: daemon, submit, log, result, status, stop.",
        examples=("jobctl demo",),
        options=(
            Option("--keep", help="Keep the directory, to look around or go on in it."),
        ),
    ),
    Verb(
        "completions", "completions:completions", panel="Daemon",
        help="Print the completion script of a shell.",
        examples=("jobctl completions bash > /etc/bash_completion.d/jobctl",),
        arguments=(Argument("shell", help="bash, zsh or fish.", complete="bash zsh fish"),),
    ),
)  # fmt: skip

VERBS = (*RUNS, *_JOBS, *_DAEMONS)
"""In the order in which help shows them."""
BY_NAME = {verb.name: verb for verb in VERBS}
