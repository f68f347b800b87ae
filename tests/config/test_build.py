"""What definitions come of valid files: defaults, inheritance, paths, schedules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.config.template import TEMPLATE
from jobctl.model.config import config_from_plain, pool_from_plain, to_plain
from jobctl.model.job import Delivery, Missed, OnLost, Overlap, ParamSpec
from jobctl.model.pool import PoolDef

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.config.validate import Checked
    from jobctl.model.job import JobDef

EXAMPLES = Path(__file__).parents[2] / "examples"

EVERYTHING = r"""
include = "jobs.d/*.toml"

[jobctl]
redis = "rediss://u:${PW}@h.example:6380/2"
namespace = "shop"
timezone = "Europe/Berlin"
state_dir = "state"
store_binary = "valkey-server"
allow_exec = true
drain_timeout = "2m"
log_tail = 0
max_output = "1G"
max_args = "1kB"
max_result = 5
name = "${HOST:-one}"

[defaults]
timeout = "1h"
owner = "ops"
env = { A = "default", B = 2 }
tags = ["nightly", "team=shop"]
command = "inherited"

[pools.default]
slots = 4
queues = ["default", "reports"]
python = "process"
max_runs_per_child = 10
max_rss_per_child = "500M"

[queues.reports]
max_running = 2
max_length = "none"

[limits.db]
slots = 3

[jobs.all]
command = ["/bin/x", "", "ü"]
description = "d"
enabled = false
schedule = ["30 2 * * *", "@every 1h"]
timezone = "Europe/London"
jitter = "10m"
missed = "once"
catchup_window = "2d"
catchup_max = 5
overlap = "queue-all"
timeout = "2h"
soft_timeout = "90m"
total_timeout = "none"
stop_signal = "sigint"
stop_timeout = 0
retries = -1
retry_delay = "30s"
retry_backoff = 3
retry_max_delay = "1h"
retry_jitter = 0
retry_on = [75, "timeout", "shop.errors.Busy", "OSError"]
no_retry_on = "memory"
success_codes = [0, 1]
skip_codes = 99
on_lost = "fail"
delivery = "at-most-once"
limits = "db"
max_running = 1
rate = "10/m"
unique = "key:x"
queue = "reports"
priority = 9
start_deadline = "1h"
expires = "1d"
max_rss = "2GiB"
nice = -5
max_output = "1M"
env = { B = "job", C = 1.5 }
env_file = ["a.env", "/b.env"]
cwd = "sub"
user = "root"
group = "root"
umask = "027"
shell = "/bin/bash"
stdin = "x\ny\n"
only_if = "test -e /x"
on_failure = "py"
on_success = ["py"]
on_retry = []
mail_to = "root"
mail_on = "always"
ping_url = "https://hc.example/abc"
late_after = "5m"
pause_after_failures = 3
keep_runs = 7
keep_days = 2
keep_failed = 3
keep_result = "errors"
result_ttl = "1h"
tags = { more = "yes", n = 3 }
args = ["x", 1, { a = [true] }]

[jobs.py]
python = "shop.media:Thumb.make"
interpreter = ".venv"
umask = 0o077
keep_days = "12h"
params.path = { type = "str", pattern = "[a-z]+", max = 10 }
params.width = { type = "int", default = 320, min = 16 }
params.mode = { choices = ["fit", "fill"], default = "fit", secret = true }
params.extra = { type = "json", required = false }

[[jobs.py.schedules]]
schedule = "@daily"
timezone = "UTC"
args = ["cat"]
kwargs = { width = 20 }
queue = "reports"
priority = 1
expires = 60
jitter = 5
missed = "all"
not_before = 2026-01-01T00:00:00Z
not_after = "2027-01-01T00:00:00+01:00"
max_runs = 3
enabled = false

[[jobs.py.schedules]]
schedule = "@reboot"
kwargs.path = "dog"

[jobs.plain]
"""


@pytest.fixture
def everything(check: Callable[..., Checked]) -> Checked:
    checked = check(EVERYTHING, env={"PW": "s3cret"})
    assert checked.config is not None, checked.problems
    return checked


@pytest.fixture
def job(check: Callable[..., Checked]) -> Callable[..., JobDef]:
    """Return the definition of the only job, from its lines."""

    def build(lines: str, defaults: str = "") -> JobDef:
        text = f"[defaults]\n{defaults}\n[jobs.a]\n{lines}\n"
        return check(text).require().jobs["a"]

    return build


def test_settings_are_taken_over(everything: Checked, tmp_path: Path) -> None:
    settings = everything.require().settings

    assert settings.redis == "rediss://u:s3cret@h.example:6380/2"
    assert (settings.namespace, settings.timezone) == ("shop", "Europe/Berlin")
    assert settings.state_dir == str(tmp_path / "state")
    assert settings.store_binary == "valkey-server"
    assert (settings.drain_timeout, settings.log_tail, settings.max_args) == (120.0, 0, 1000)
    assert (settings.max_output, settings.max_result) == (1024**3, 5)
    assert (settings.name, settings.allow_exec) == ("one", True)


def test_every_job_key_arrives(everything: Checked, tmp_path: Path) -> None:
    made = everything.require().jobs["all"]

    assert made.command == ("/bin/x", "", "ü")
    assert [(one.name, one.rule) for one in made.schedules] == [
        ("all", "30 2 * * *"), ("all#2", "@every 1h"),
    ]  # fmt: skip
    assert made.overlap is Overlap.QUEUE_ALL
    assert (made.missed, made.on_lost, made.delivery) == (
        Missed.ONCE, OnLost.FAIL, Delivery.AT_MOST_ONCE,
    )  # fmt: skip
    assert (made.timeout, made.soft_timeout, made.total_timeout) == (7200.0, 5400.0, None)
    assert (made.stop_signal, made.stop_timeout) == ("INT", 0.0)
    assert made.retry.retries == -1
    assert made.retry.retry_on == (75, "timeout", "shop.errors.Busy", "OSError")
    assert made.retry.no_retry_on == ("memory",)
    assert (made.retry.delay, made.retry.backoff, made.retry.max_delay) == (30.0, 3.0, 3600.0)
    assert (made.skip_codes, made.success_codes) == ((99,), (0, 1))
    assert (made.max_rss, made.max_output, made.umask) == (2 * 1024**3, 1024**2, 0o27)
    assert made.cwd == str(tmp_path / "sub")
    assert made.env_file == (str(tmp_path / "a.env"), "/b.env")
    assert made.args == ("x", 1, {"a": [True]})
    assert (made.keep_days, made.keep_runs, made.result_ttl) == (2.0, 7, 3600.0)
    line = EVERYTHING.split("\n").index("[jobs.all]") + 1
    assert made.source == f"{tmp_path}/jobs.toml:{line}"


def test_jobs_inherit_the_defaults_and_add_to_tables(everything: Checked) -> None:
    jobs = everything.require().jobs

    assert jobs["all"].owner == jobs["plain"].owner == "ops"
    assert jobs["plain"].command == "inherited"
    assert jobs["py"].command is None
    assert jobs["all"].env == {"A": "default", "B": "job", "C": "1.5"}
    assert jobs["all"].tags == {"nightly": "", "team": "shop", "more": "yes", "n": "3"}
    assert jobs["plain"].timeout == 3600.0


def test_python_jobs_have_parameters_and_schedules(everything: Checked, tmp_path: Path) -> None:
    made = everything.require().jobs["py"]

    assert made.interpreter == str(tmp_path / ".venv")
    assert (made.umask, made.keep_days) == (0o77, 0.5)
    assert made.params[1] == ParamSpec(
        name="width", type="int", required=False, default=320, min=16.0
    )
    assert [one.required for one in made.params] == [True, False, False, False]
    first, second = made.schedules
    assert (first.name, second.name) == ("py", "py#2")
    assert (first.not_before, first.not_after) == (
        "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+01:00",
    )  # fmt: skip
    assert (first.missed, first.enabled, first.expires) == (Missed.ALL, False, 60.0)


def test_schedules_carry_the_arguments_their_runs_get(everything: Checked) -> None:
    first, second = everything.require().jobs["py"].schedules

    assert (first.args, first.kwargs) == ((), {"path": "cat", "width": 20, "mode": "fit"})
    assert second.kwargs == {"path": "dog", "width": 320, "mode": "fit"}
    assert everything.require().jobs["all"].schedules[0].args == ("x", 1, {"a": [True]})


def test_a_schedule_adds_to_the_named_arguments_and_replaces_the_others(
    job: Callable[..., JobDef],
) -> None:
    made = job(
        'command = "x"\nargs = ["a"]\nkwargs = { k = 1, l = 2 }\n'
        '[[jobs.a.schedules]]\nschedule = "@daily"\nargs = []\nkwargs = { l = 3 }\n'
        '[[jobs.a.schedules]]\nschedule = "@hourly"\n'
    )

    assert [(one.args, one.kwargs) for one in made.schedules] == [
        ((), {"k": 1, "l": 3}), (("a",), {"k": 1, "l": 2}),
    ]  # fmt: skip


def test_pools_queues_and_limits_arrive(everything: Checked) -> None:
    config = everything.require()

    assert config.pools["default"].max_rss_per_child == 500 * 1024**2
    assert config.pools["default"].queues == ("default", "reports")
    assert (config.queues["reports"].max_running, config.queues["reports"].max_length) == (2, None)
    assert config.limits["db"].slots == 3


def test_the_default_pool_exists_without_being_written(check: Callable[..., Checked]) -> None:
    config = check('[pools.big]\nqueues = "big"\n').require()

    assert config.pools == {
        "default": PoolDef(name="default", slots=3),
        "big": PoolDef(name="big", slots=3, queues=("big",)),
    }


@pytest.mark.parametrize(
    ("written", "kept"), [("", "auto"), ('"auto"', "auto"), ('"90s"', 90.0), ('"none"', None)]
)
def test_time_of_idle_children_reaches_the_pool(
    check: Callable[..., Checked], written: str, kept: object
) -> None:
    line = f"idle_timeout = {written}" if written else ""
    pool = check(f"[pools.big]\n{line}\n").require().pools["big"]

    assert pool.idle_timeout == kept
    assert pool_from_plain(json.loads(json.dumps(to_plain(pool)))) == pool


def test_overlap_is_skip_only_with_a_schedule(job: Callable[..., JobDef]) -> None:
    assert job('command = "x"').overlap is Overlap.ALLOW
    assert job('command = "x"\nschedule = "@daily"').overlap is Overlap.SKIP
    assert job('command = "x"', 'schedule = "@daily"').overlap is Overlap.SKIP
    assert job('command = "x"\nschedule = "@daily"\noverlap = "allow"').overlap is Overlap.ALLOW


def test_none_undoes_a_limit_of_the_defaults(job: Callable[..., JobDef]) -> None:
    made = job(
        'command = "x"\ntimeout = "none"\nmax_rss = "none"\nrate = "none"',
        'timeout = 5\nmax_rss = "1G"\nrate = "1/s"',
    )

    assert (made.timeout, made.max_rss, made.rate) == (None, None, None)


def test_a_schedule_replaces_those_of_the_defaults(job: Callable[..., JobDef]) -> None:
    made = job('command = "x"\n[[jobs.a.schedules]]\nschedule = "@hourly"', 'schedule = "@daily"')

    assert [one.rule for one in made.schedules] == ["@hourly"]


@pytest.mark.parametrize("interpreter", ["python3.12", "~/venv", "/opt/venv"])
def test_what_is_no_relative_path_is_left_alone(
    job: Callable[..., JobDef], interpreter: str
) -> None:
    made = job(f'python = "a:b"\ninterpreter = "{interpreter}"\ncwd = "~"')

    assert (made.interpreter, made.cwd) == (interpreter, "~")


def test_variables_are_filled_in_only_in_settings(check: Callable[..., Checked]) -> None:
    checked = check(
        '[jobctl]\nname = "$${A}-${A}-${B:-b}-${C:-}"\n[jobs.a]\ncommand = "echo ${A}"\n',
        env={"A": "1", "B": ""},
    )

    assert checked.require().settings.name == "${A}-1-b-"
    assert checked.require().jobs["a"].command == "echo ${A}"
    assert checked.variables == {"A": "1", "B": "", "C": None}


def test_the_plain_form_of_everything_comes_back_the_same(everything: Checked) -> None:
    config = everything.require()

    assert config_from_plain(json.loads(json.dumps(to_plain(config)))) == config


def test_what_init_writes_is_valid_and_so_are_its_comments(check: Callable[..., Checked]) -> None:
    assert check(TEMPLATE).problems == ()

    examples = re.sub(r"(?m)^# (?=\[|[a-z_.]+ = )", "", TEMPLATE)
    checked = check(examples)
    assert checked.problems == ()
    assert set(checked.require().jobs) == {"hello", "backup", "thumbnail"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_examples_are_valid(check: Callable[..., Checked], path: Path) -> None:
    assert check(path.read_text()).config is not None


def test_the_whole_grammar_in_one_file_is_valid(check: Callable[..., Checked]) -> None:
    checked = check(
        """\
        [jobctl]
        redis = "redis://localhost:6379/0"
        namespace = "default"
        timezone = "Europe/Berlin"
        state_dir = "/var/lib/jobctl"

        [defaults]
        timeout = "1h"

        [pools.default]
        slots = 4
        queues = ["default", "reports"]
        python = "process"
        max_runs_per_child = 1000
        max_rss_per_child = "500M"
        idle_timeout = "1m"

        [queues.reports]
        max_running = 2
        max_length = 10000

        [limits.db]
        slots = 3

        [jobs.backup]
        command = "pg_dump shop | zstd > /backup/shop-$JOBCTL_SCHEDULED_AT.zst"
        schedule = "30 2 * * *"
        timezone = "Europe/London"
        jitter = "10m"
        missed = "once"
        overlap = "skip"
        timeout = "2h"
        stop_signal = "TERM"
        retries = 3
        retry_delay = "30s"
        retry_backoff = 2.0
        limits = ["db"]
        max_rss = "2GiB"
        on_failure = ["notify-ops"]
        keep_runs = 100

        [jobs.thumbnail]
        python = "shop.media:thumbnail"
        params.path = { type = "str" }
        params.width = { type = "int", default = 320, min = 16 }
        """
    )

    assert {one.severity for one in checked.problems} == {"warning"}
    assert set(checked.require().jobs) == {"backup", "thumbnail"}
