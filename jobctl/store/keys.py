"""Every Redis key, as a method that names its type and lifetime.

All keys of a namespace start with ``jc:{ns}:``. The braces make it one hash tag, so a script may
touch any of them, on Redis Cluster too. The Lua scripts derive the same names from the prefix.

::

    r:<id>        HASH    a run; expires once the run is final
    q:<queue>:<p> LIST    ready run ids of one priority, oldest first
    due           ZSET    by ms: run ids, "^id" expiries, "!limit" tokens of rate limits, "?id" late
                          runs, "~job" failures that were held back
    own:<owner>   SET     run ids claimed by one pool process: the claim itself
    pools:<sid>   SET     owners of a supervisor that may claim
    sup:<sid>     HASH    a supervisor: st, beat, bt, told, load, host, pid, version, started …
    sups          SET     supervisor ids not known to be gone
    b:<queue>     LIST    doorbell, at most one token; alike b:@due, b:@<sid>, b:@out, b:@out:<sid>
    mb:<sid>      LIST    control messages for one supervisor
    lim           HASH    sizes of limits
    c:<limit>     SET     run ids that hold a limit
    pk:<limit>    LIST    run ids parked for a limit
    rl:<limit>    STRING  rate limit: theoretical arrival time in ms; expires by itself
    u:<digest>    STRING  unique lock: the holder's run id
    id:<id>       STRING  state letter and job of a run that has ended and whose id was given, so that
                          the id is known when its record is gone; expires as its job said (keep_ids)
    on:<job>:<key> STRING what ``once`` decided: "d" done or "b" begun, run, epoch, token; expires as
                          the job said
    live:<job>    SET     unfinished runs that the job's overlap policy looks at
    s:<schedule>  HASH    gen, last, next, fired, off and on (ms: switched off from, until), once
                          (ms: the next instant from then on is let go), cut (decisions that are not in
                          its history), spent (ms: since then max_runs is reached), boot:<host> (the
                          last one), ran:<host> (its run); both expire 400 days after their last
                          use, a month after a reload has removed it
    sh:<schedule> LIST    last 200 decisions: instant|kind|answer|run|lag ms|who
    out           LIST    notices for whoever takes them, as JSON, see model/notices.py
    out:<sid>     LIST    notices that one supervisor has to deliver
    al:<job>      HASH    failures in a row: n, since ms, told ms, alert, quiet, last, nt; late ones:
                          late ms, lq; expires after 400 days without any
    ls            HASH    live schedules and changes of those of jobs.toml: schedule → signed record
    lsv           STRING  how often ls was changed
    h:<job>       LIST    final run ids, newest first; hf:<job> failed ones when kept apart
    l:<id>        STREAM  shipped output of a run: a attempt, o offset, d data; expires with it
    bad           LIST    newest 1000 ids whose records could not be understood or trusted
    aside:<ms>:…  ANY     what `doctor --repair` found under a name of ours; expires in a week
    schema        STRING  how the keys are laid out; a jobctl that knows only an older one keeps off
    latest        HASH    job → id of its latest run; @last → the last of all
    n             HASH    counters: submitted, ticks, rescued, retried, bad, forged, replayed,
                      notices, undelivered, untold, and one a final letter

Fields of r:<id> (all optional but s q p j t e): s state letter, q queue, p priority, j job,
t submitted ms, e envelope, mx attempts allowed (1), nb due ms, xp expiry ms, lm limits, uq unique
digest, nt which notices, lv overlap policy as in moves.lua, a capital for scheduled runs,
kp "runs:ttl ms:failed", ik for how many ms its id is known after its end, if that was given,
ol "f" fail when lost, pl last parked for, nr ms of its turn when it waits again, ep epoch, o owner,
ct claimed ms ("+" before it: nothing in the record makes its end unusual), fs first start ms, st
last start ms, at attempts started, pi pid, ls times lost, dr times interrupted, cl claims lost, cx
stop order, pg progress, bl epoch and ids of runs that keep its function from beginning, fn finished
ms, rs reason, rc exit code, sg signal, er error, re result, du seconds, a<N> attempt N as JSON. What
succeeded before its start was written down has no fs, st, pi and du: they are in a1; with exit code 0
it has no at and rc either.
"""

from __future__ import annotations

from jobctl.model.records import record


@record(frozen=True, slots=True)
class Keys:
    """Key names of one namespace."""

    namespace: str

    @property
    def prefix(self) -> str:
        """What all of them begin with."""
        return f"jc:{{{self.namespace}}}:"

    def run(self, run_id: str) -> str:
        """HASH, expires once final."""
        return f"{self.prefix}r:{run_id}"

    def queue(self, queue: str, priority: int) -> str:
        """LIST, gone when empty."""
        return f"{self.prefix}q:{queue}:{priority}"

    @property
    def due(self) -> str:
        """ZSET, gone when empty."""
        return f"{self.prefix}due"

    def own(self, owner: str) -> str:
        """SET, gone when empty."""
        return f"{self.prefix}own:{owner}"

    def pools(self, supervisor: str) -> str:
        """SET, removed when the supervisor leaves or is rescued."""
        return f"{self.prefix}pools:{supervisor}"

    def supervisor(self, supervisor: str) -> str:
        """HASH, removed when it leaves; an hour after a rescue."""
        return f"{self.prefix}sup:{supervisor}"

    @property
    def supervisors(self) -> str:
        """SET."""
        return f"{self.prefix}sups"

    def bell(self, queue: str) -> str:
        """LIST, at most one token."""
        return f"{self.prefix}b:{queue}"

    def mailbox(self, supervisor: str) -> str:
        """LIST, emptied at each beat."""
        return f"{self.prefix}mb:{supervisor}"

    @property
    def limits(self) -> str:
        """HASH."""
        return f"{self.prefix}lim"

    def holders(self, limit: str) -> str:
        """SET, gone when empty."""
        return f"{self.prefix}c:{limit}"

    def parked(self, limit: str) -> str:
        """LIST, gone when empty."""
        return f"{self.prefix}pk:{limit}"

    def given_id(self, run_id: str) -> str:
        """Name a STRING that is gone ``keep_ids`` after the end of the run."""
        return f"{self.prefix}id:{run_id}"

    def live(self, job: str) -> str:
        """SET, gone when empty."""
        return f"{self.prefix}live:{job}"

    def schedule(self, name: str) -> str:
        """HASH, expires 400 days after the schedule was last introduced or decided."""
        return f"{self.prefix}s:{name}"

    def schedule_history(self, name: str) -> str:
        """LIST, at most 200 entries; expires with the schedule's HASH."""
        return f"{self.prefix}sh:{name}"

    @property
    def notices(self) -> str:
        """LIST, gone when empty."""
        return f"{self.prefix}out"

    def outbox(self, supervisor: str) -> str:
        """LIST, gone when empty; given to others when the supervisor leaves or is rescued."""
        return f"{self.prefix}out:{supervisor}"

    def alarm(self, job: str) -> str:
        """HASH, expires 400 days after the last failure."""
        return f"{self.prefix}al:{job}"

    @property
    def live_schedules(self) -> str:
        """HASH, gone when empty."""
        return f"{self.prefix}ls"

    @property
    def live_version(self) -> str:
        """STRING."""
        return f"{self.prefix}lsv"

    def history(self, job: str) -> str:
        """LIST, at most ``keep_runs`` entries."""
        return f"{self.prefix}h:{job}"

    def failed_history(self, job: str) -> str:
        """LIST, at most ``keep_failed`` entries."""
        return f"{self.prefix}hf:{job}"

    def log(self, run_id: str) -> str:
        """STREAM; one entry with the tail once the run is final; expires with the run."""
        return f"{self.prefix}l:{run_id}"

    @property
    def refused(self) -> str:
        """LIST, the newest 1000."""
        return f"{self.prefix}bad"

    @property
    def schema(self) -> str:
        """STRING, set by the first supervisor."""
        return f"{self.prefix}schema"

    @property
    def latest(self) -> str:
        """HASH."""
        return f"{self.prefix}latest"

    @property
    def counters(self) -> str:
        """HASH."""
        return f"{self.prefix}n"
