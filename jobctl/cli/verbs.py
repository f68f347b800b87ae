"""Every verb, argument and option of ``jobctl``, as data: the only place that declares them.

The quick parser, the Typer application with its help, the completions and the reference are all
made from this. Nothing here is expensive to import.
"""

from __future__ import annotations

RENAMED = frozenset(("in", "from", "all", "any", "id"))
"""Option names that would hide a word of Python's; their parameter ends with ``_``."""


class Option:
    """One option of a verb. Without ``metavar`` it is a switch."""

    __slots__ = ("complete", "flags", "help", "many", "metavar", "name")

    def __init__(
        self,
        *flags: str,
        help: str,  # noqa: A002 - the word of every other parser
        metavar: str = "",
        many: bool = False,
        complete: str = "",
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.many = many
        """It may be given several times."""
        self.complete = complete
        """What its value is: ``file``, ``jobs``, ``queues``, ``runs`` or words to choose from."""
        long = next(flag for flag in flags if flag.startswith("--"))
        name = long[2:].replace("-", "_")
        self.name = f"{name}_" if name in RENAMED else name


class Argument:
    """One positional argument of a verb."""

    __slots__ = ("complete", "help", "many", "name", "required")

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - same
        required: bool = True,
        many: bool = False,
        complete: str = "",
    ) -> None:
        self.name = name
        self.help = help
        self.required = required
        self.many = many
        self.complete = complete


class Verb:
    """One verb: where its function is, and what it takes.

    The function gets an ``Invocation`` and one keyword per argument and option.
    """

    __slots__ = (
        "arguments",
        "examples",
        "help",
        "literal",
        "name",
        "options",
        "panel",
        "reads",
        "target",
    )

    def __init__(  # noqa: PLR0913 - one keyword per thing a verb may have
        self,
        name: str,
        target: str,
        *,
        panel: str,
        help: str = "",  # noqa: A002
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
        examples: tuple[str, ...] = (),
        literal: bool = False,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.target = target
        """``module:function`` below ``jobctl.cli``."""
        self.help = help
        self.panel = panel
        self.arguments = arguments
        self.options = options
        self.examples = examples
        self.literal = literal
        """Words after ``--`` are handed on apart from the others."""
        self.reads = reads
        """It only shows runs: a configuration that is wrong now may count as it last was right."""


EVERYWHERE = (
    Option("--config", "-c", metavar="FILE", complete="file",
           help="Use this jobs.toml (also JOBCTL_CONFIG; else the first of ./jobs.toml, "
                "$XDG_CONFIG_HOME/jobctl/jobs.toml, /etc/jobctl/jobs.toml)."),
    Option("--json", help="Write JSON to stdout, and errors as JSON to stderr."),
    Option("--quiet", "-q", help="No talk on stderr, only errors."),
)  # fmt: skip
"""Options of every verb."""

_RUN = Argument(
    "run", help="A run id or its beginning, a job (its latest run), or @last.", complete="runs"
)
_RUNS = Argument("runs", help="Run ids or their beginnings, jobs (their latest runs), or @last.",
                 many=True, complete="runs")  # fmt: skip
_SOME_RUNS = Argument("runs", help=_RUNS.help, many=True, required=False, complete="runs")
_LINES = "Only the last N lines."

_ASK = (
    Option("--in", metavar="DURATION", help="Start that much later: 90, 10m, 1h30m."),
    Option("--at", metavar="TIME", help="Start then: ISO 8601; without an offset in the zone of jobs.toml."),
    Option("--expires", metavar="DURATION", help="End as expired when not started within this time."),
    Option("--queue", metavar="QUEUE", complete="queues", help="Instead of the job's own queue."),
    Option("--priority", metavar="0-9", help="9 runs first."),
    Option("--timeout", metavar="DURATION", help="Of one attempt, instead of the job's own."),
    Option("--retries", metavar="N", help="Further attempts after a failed one; -1: without end."),
    Option("--id", metavar="KEY", help="A run id, or any key: the same key never makes a second run of the job."),
    Option("--tag", metavar="K=V", many=True, help="A tag to find the run by; repeatable."),
    Option("--wait", help="Wait for the end and exit with the job's own code."),
    Option("--timeout-wait", metavar="DURATION", help="Wait at most so long, then exit 124; the run goes on."),
    Option("--store-wait", metavar="DURATION",
           help="Wait so long for a store that is away for a moment; default: $JOBCTL_STORE_WAIT, else 3s."),
    Option("--spool", help="When the store cannot be reached, leave it to this host's daemon to submit."),
    Option("--follow", "-f", help="Show the output until the end, then exit with the job's own code."),
)  # fmt: skip

VERBS = (
    Verb(
        "submit", "submit:submit", panel="Runs", literal=True,
        help="Ask for a run of a job; its id is printed alone on stdout.",
        examples=(
            "jobctl submit backup",
            "jobctl submit thumbnail path=cat.jpg width=640 --wait",
            "jobctl submit report --in 10m --id report-2030-01",
            "jobctl submit thumbnail --from-ndjson pictures.ndjson",
        ),
        arguments=(
            Argument("job", help="The job's name in jobs.toml.", required=False, complete="jobs"),
            Argument("words", required=False, many=True,
                     help="Arguments: NAME=VALUE by name, anything else in order; all in order after --."),
        ),
        options=(
            *_ASK,
            Option("--args-json", metavar="JSON|@FILE|-", complete="file",
                   help='Arguments as JSON: a list, an object of names, or {"args": …, "kwargs": …}.'),
            Option("--from-ndjson", metavar="FILE|-", complete="file",
                   help="Submit one run per line: job args kwargs id in at queue priority tags …"),
            Option("--force", help="Let the run overlap with others of its job."),
            Option("--dry-run", help="Check everything and show the run, without submitting it."),
        ),
    ),
    Verb(
        "exec", "submit:execute", panel="Runs", literal=True,
        help="Run a command that is in no jobs.toml, as a run (needs [jobctl] allow_exec = true).",
        examples=("jobctl exec -- du -sh /srv", "jobctl exec --timeout 5m --wait -- make -C /srv/site"),
        arguments=(Argument("words", required=False, many=True, help="The command and its arguments."),),
        options=_ASK,
    ),
    Verb(
        "run", "run:run", panel="Runs", literal=True,
        help="Run a job here and now, in the foreground, without daemon and store; exits with the job's own code.\n\n"
             "The job gets the environment, user, directory and limits that the daemon would give it. Both its "
             "output streams go to stdout, with --json to stderr. Ctrl-C stops it as the daemon would, a second one "
             "kills it.",
        examples=(
            "jobctl run backup",
            "jobctl run thumbnail path=cat.jpg width=640 --timeout 30s",
            "jobctl run --dry-run backup",
        ),
        arguments=(
            Argument("job", help="The job's name in jobs.toml.", complete="jobs"),
            Argument("words", required=False, many=True,
                     help="Arguments: NAME=VALUE by name, anything else in order; all in order after --."),
        ),
        options=(
            Option("--timeout", metavar="DURATION", help="Of one attempt, instead of the job's own."),
            Option("--retries", help="Try again as the job's retry policy says; else there is one attempt."),
            Option("--dry-run", "-n", help="Show what would be started, and start nothing."),
        ),
    ),
    Verb(
        "status", "status:status", panel="Look", reads=True,
        help="Everything on one screen; with names, the state of those runs and jobs.",
        examples=("jobctl status", "jobctl status --watch", "jobctl status backup"),
        arguments=(_SOME_RUNS,),
        options=(
            Option("--watch", help="Draw again and again until Ctrl-C."),
            Option("--every", metavar="DURATION", help="How often --watch draws; default 2s."),
            Option("--failed-since", metavar="DURATION", help="How far back failures are shown; default 24h."),
        ),
    ),
    Verb(
        "inspect", "inspect:inspect", panel="Look", reads=True,
        help="Everything known about a run or a job, and why it is in its state.",
        examples=("jobctl inspect @last", "jobctl inspect backup --json"),
        arguments=(_RUN,),
    ),
    Verb(
        "list", "runs:list_runs", panel="Look", reads=True, help="Runs, newest first.",
        examples=("jobctl list", "jobctl list --state failed,expired --since 24h", "jobctl list --job backup --ids"),
        options=(
            Option("--state", metavar="S[,S…]", help="Only these states; final and unfinished stand for all of theirs.",
                   complete="scheduled queued parked waiting running retrying succeeded failed revoked expired skipped"),
            Option("--job", metavar="JOB", complete="jobs", help="Only runs of this job."),
            Option("--queue", metavar="QUEUE", complete="queues", help="Only runs of this queue."),
            Option("--since", metavar="DURATION|TIME", help="Only runs submitted since then: 2h, or ISO 8601."),
            Option("--tag", metavar="K=V", many=True, help="Only runs with this tag; repeatable."),
            Option("--number", "-n", metavar="N", help="At most so many; default 20."),
            Option("--ids", help="Only ids, one a line."),
        ),
    ),
    Verb(
        "logs", "logs:logs", panel="Look", reads=True, help="The output of a run.",
        examples=("jobctl logs backup", "jobctl logs -f @last"),
        arguments=(_RUN,),
        options=(
            Option("--follow", "-f", help="Show what comes until the run ends."),
            Option("--lines", "-n", metavar="N", help=_LINES),
            Option("--attempt", metavar="K", help="Of this attempt; default: the last one."),
        ),
    ),
    Verb(
        "result", "runs:result", panel="Look", reads=True,
        help="The value a run returned; exits with the job's own code when it failed.",
        examples=("jobctl result @last", "jobctl result thumbnail --raw > size.txt"),
        arguments=(_RUN,),
        options=(Option("--raw", help="A text result as it is, without quotes."),),
    ),
    Verb(
        "wait", "wait:wait", panel="Runs", reads=True,
        help="Wait until runs are final; exits with the code of the first that failed.",
        examples=("jobctl wait @last", "jobctl wait --any --timeout 10m $ids"),
        arguments=(_RUNS,),
        options=(
            Option("--timeout", metavar="DURATION", help="Wait at most so long, then exit 124; the runs go on."),
            Option("--any", help="Until the first of them is final."),
        ),
    ),
    Verb(
        "revoke", "control:revoke", panel="Runs",
        help="Take runs back: waiting ones end at once, running ones are stopped with all their processes.",
        examples=("jobctl revoke @last", "jobctl revoke --all --job backup --older 1h --dry-run"),
        arguments=(_SOME_RUNS,),
        options=(
            Option("--signal", metavar="NAME", help="Instead of the job's stop_signal."),
            Option("--grace", metavar="DURATION", help="Until KILL, instead of the job's stop_timeout."),
            Option("--no-kill", help="Send only the signal, no KILL after it."),
            Option("--all", help="All unfinished runs that fit --job, --tag and --older."),
            Option("--job", metavar="JOB", complete="jobs", help="With --all: of this job."),
            Option("--tag", metavar="K=V", many=True, help="With --all: with this tag; repeatable."),
            Option("--older", metavar="DURATION", help="With --all: submitted longer ago than this."),
            Option("--dry-run", help="Show what would be revoked."),
            Option("--yes", "-y", help="Do not ask; needed with --all where nobody can be asked."),
            Option("--wait", help="Wait until the runs have ended."),
        ),
    ),
    Verb(
        "retry", "control:retry", panel="Runs",
        help="Submit runs again with the same arguments; prints the new ids.",
        examples=("jobctl retry @last", "jobctl list --state failed --ids | xargs jobctl retry"),
        arguments=(_RUNS,),
        options=(Option("--force", help="Also runs that have not ended."),),
    ),
    Verb(
        "progress", "progress:progress", panel="Runs",
        help="Inside a job: tell how far it is.",
        examples=('jobctl progress 40 "resizing"',),
        arguments=(
            Argument("percent", help="0 to 100."),
            Argument("message", help="What is being done.", required=False, many=True),
        ),
    ),
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
        help="Check jobs.toml: all its problems at once, or what will run.",
        examples=("jobctl check", "jobctl check -c /etc/jobctl/jobs.toml --strict"),
        options=(Option("--strict", help="Treat warnings as errors."),),
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

BY_NAME = {verb.name: verb for verb in VERBS}
