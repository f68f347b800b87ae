from __future__ import annotations

import pytest

from jobctl.model.admission import admission_for, limit_sizes, parse_rate, unique_digest
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, LimitDef, OnLost, Overlap, QueueDef


def test_a_plain_job_asks_nothing_of_the_store() -> None:
    rules = admission_for(JobDef(name="j", command="x"))

    assert (rules.limits, rules.overlap, rules.keep, rules.on_lost) == ("", "", "", "")


@pytest.mark.parametrize(
    ("overlap", "letter", "limits"),
    [
        (Overlap.ALLOW, "", ""),
        (Overlap.SKIP, "s", ""),
        (Overlap.QUEUE, "l", "o:j"),
        (Overlap.QUEUE_ALL, "a", "o:j"),
        (Overlap.REPLACE, "r", "o:j"),
    ],
)
def test_overlap_policies_that_wait_hold_the_limit_of_one(
    overlap: Overlap, letter: str, limits: str
) -> None:
    rules = admission_for(JobDef(name="j", command="x", overlap=overlap))

    assert (rules.overlap, rules.limits) == (letter, limits)


def test_a_forced_run_takes_no_overlap_limit_but_is_seen() -> None:
    rules = admission_for(JobDef(name="j", command="x", overlap=Overlap.REPLACE), force=True)

    assert (rules.overlap, rules.limits) == ("f", "")


def test_every_kind_of_limit_is_named() -> None:
    job = JobDef(name="j", command="x", max_running=1, limits=("db", "net"), rate="10/m")
    rules = admission_for(job, queue=QueueDef(name="q", max_running=2, max_length=9))

    assert rules.limits.split() == ["j:j", "q:q", "l:db", "l:net", "t:j"]
    assert rules.max_length == "9"


def test_retention_and_loss_policy_travel_with_the_run() -> None:
    job = JobDef(name="j", command="x", keep_runs=5, keep_days=1, keep_failed=7, on_lost=OnLost.FAIL)
    rules = admission_for(job)

    assert (rules.keep, rules.on_lost) == ("5:86400000:7", "f")


def test_unique_runs_are_told_apart_by_their_arguments_only_when_asked() -> None:
    by_args = JobDef(name="j", command="x", unique="args")
    by_job = JobDef(name="j", command="x", unique="job")

    assert unique_digest(JobDef(name="j", command="x"), ["a"], {}) == ""
    assert unique_digest(by_args, ["a"], {}) != unique_digest(by_args, ["b"], {})
    assert unique_digest(by_args, [], {"a": 1, "b": 2}) == unique_digest(by_args, [], {"b": 2, "a": 1})
    assert unique_digest(by_job, ["a"], {}) == unique_digest(by_job, ["b"], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10/m", (10, 60_000)), ("1/s", (1, 1000)), ("3/10s", (3, 10_000)), ("2/h", (2, 3_600_000))],
)
def test_rates_are_counts_over_periods(text: str, expected: tuple[int, int]) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "10", "/m", "ten/m", "10/w", "0/m", "1/0s", "-1/m", "1.5/s"])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


def test_the_sizes_of_all_limits_are_declared() -> None:
    config = Config(
        settings=Settings(),
        jobs={"a": JobDef(name="a", command="x", max_running=3, rate="5/m")},
        queues={"q": QueueDef(name="q", max_running=2), "free": QueueDef(name="free")},
        limits={"db": LimitDef(name="db", slots=4)},
    )

    assert limit_sizes(config) == {"l:db": "4", "q:q": "2", "j:a": "3", "t:a": "5:60000"}
