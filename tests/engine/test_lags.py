"""How late instants were decided, as a supervisor tells it."""

from __future__ import annotations

from jobctl.engine.lags import AGE, MOST, Lags


def test_nothing_is_told_before_the_first_decision() -> None:
    assert Lags().facts(100.0) == {}


def test_figures_are_those_of_the_decisions() -> None:
    lags = Lags()
    for number in range(1, 101):
        lags.note(1000.0, now=1000.0 + number / 1000)

    assert lags.facts(1001.0) == {
        "decided": 100, "p50": 50.0, "p99": 99.0, "longest": 100.0, "last": 100.0,
    }  # fmt: skip


def test_one_decision_is_all_figures() -> None:
    lags = Lags()
    lags.note(1000.0, now=1000.25)

    assert set(lags.facts(1001.0).values()) == {1, 250.0}


def test_only_the_newest_count_and_only_for_an_hour() -> None:
    lags = Lags()
    for number in range(MOST + 50):
        lags.note(float(number), now=number + (9.0 if number < 50 else 0.5))

    assert lags.facts(MOST + 50.0)["decided"] == MOST
    assert lags.facts(MOST + 50.0)["longest"] == 500.0
    assert lags.facts(MOST + 51.0 + AGE) == {}


def test_a_clock_that_was_set_back_makes_no_negative_lag() -> None:
    lags = Lags()
    lags.note(1000.0, now=999.9)

    assert lags.facts(1000.0)["longest"] == 0.0
