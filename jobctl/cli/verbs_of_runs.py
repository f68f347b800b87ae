"""The verbs on runs, as data: to ask for them, to look at them, and to stop them."""

from __future__ import annotations

from jobctl.cli.verb import Argument, Option, Verb

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
    Option("--queue", metavar="QUEUE", complete="queues", help="Instead of the job's own queue: one that jobs.toml has, or that a pool takes from now."),
    Option("--priority", metavar="0-9", help="9 runs first."),
    Option("--timeout", metavar="DURATION", help="Of one attempt, instead of the job's own."),
    Option("--retries", metavar="N", help="Further attempts after a failed one; -1: without end."),
    Option("--id", metavar="KEY", help="A run id, or any key: the same key makes no second run of the job, until keep_ids after its end."),
    Option("--tag", metavar="K=V", many=True, help="A tag to find the run by; repeatable."),
    Option("--wait", help="Wait for the end and exit with the job's own code."),
    Option("--timeout-wait", metavar="DURATION", help="Wait at most so long, then exit 124; the run goes on."),
    Option("--store-wait", metavar="DURATION",
           help="Wait so long for a store that is away for a moment; default: $JOBCTL_STORE_WAIT, else 3s."),
    Option("--spool", help="When the store cannot be reached, leave it to this host's daemon to submit."),
    Option("--follow", "-f", help="Show the output until the end, then exit with the job's own code."),
)  # fmt: skip

RUNS = (
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
)  # fmt: skip
