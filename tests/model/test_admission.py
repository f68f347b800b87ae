from __future__ import annotations

import pytest

from jobctl.model.admission import Admission, admission_for, parse_rate, unique_digest
from jobctl.model.job import JobDef, OnLost, Overlap, QueueDef


def test_plain_job_costs_the_store_nothing() -> None:
    assert admission_for(JobDef(name="j", overlap=Overlap.ALLOW)) == Admission()


def test_limits_are_taken_in_a_fixed_order() -> None:
    job = JobDef(name="j", overlap=Overlap.QUEUE, max_running=2, limits=("db", "net"), rate="10/m")
    queue = QueueDef(name="q", max_running=3, max_length=7)
    rules = admission_for(job, queue=queue)
    assert rules.limits == "o:j j:j q:q l:db l:net t:j"
    assert rules.max_length == "7"


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
def test_overlap_policy_has_a_letter_and_a_limit(
    overlap: Overlap, letter: str, limits: str
) -> None:
    rules = admission_for(JobDef(name="j", overlap=overlap))
    assert (rules.overlap, rules.limits) == (letter, limits)
    forced = admission_for(JobDef(name="j", overlap=overlap), force=True)
    assert (forced.overlap, forced.limits) == ("f" if letter else "", "")


def test_times_are_milliseconds() -> None:
    job = JobDef(name="j", keep_runs=5, keep_days=0.5, keep_failed=2, start_deadline=1.5)
    rules = admission_for(job)
    assert rules.keep == "5:43200000:2"
    assert rules.start_deadline == "1500"
    assert admission_for(JobDef(name="j", on_lost=OnLost.FAIL)).on_lost == "f"


def test_unique_by_arguments_tells_arguments_and_jobs_apart() -> None:
    job = JobDef(name="j", unique="args")
    digest = unique_digest(job, (1,), {"a": 1, "b": 2})
    assert digest == unique_digest(job, [1], {"b": 2, "a": 1})
    assert digest != unique_digest(job, (2,), {"a": 1, "b": 2})
    assert digest != unique_digest(JobDef(name="k", unique="args"), (1,), {"a": 1, "b": 2})


def test_unique_by_job_takes_no_notice_of_arguments() -> None:
    job = JobDef(name="j", unique="job")
    assert unique_digest(job, (1,), {}) == unique_digest(job, (2,), {})
    assert unique_digest(JobDef(name="j"), (1,), {}) == ""


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/m", (10, 60_000)),
        ("3/10s", (3, 10_000)),
        ("1/2h", (1, 7_200_000)),
        ("5/d", (5, 86_400_000)),
    ],
)
def test_rate_is_a_count_and_a_period(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "/m", "0/m", "10/0s", "10/x", "-1/m", "1.5/m", "\u0661/m"]
)
def test_other_rates_are_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_a_unique_key_is_shared_by_jobs_and_filled_with_arguments() -> None:
    one = JobDef(name="one", command="x", unique="key:shop-{shop}")
    two = JobDef(name="two", command="x", unique="key:shop-{shop}")

    assert unique_digest(one, [], {"shop": "a"}) == unique_digest(two, [], {"shop": "a"})
    assert unique_digest(one, [], {"shop": "a"}) != unique_digest(one, [], {"shop": "b"})
