"""A window is an unbroken stretch of time inside what it may see."""

import datetime

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.splits import checked_splits, default_splits, read_splits, steps_of_splits
from data_pipelines.times import decode, milliseconds, parse, text
from data_pipelines.windows import gaps, is_irregular, longest_run, time_step, window_starts


def hours(*values: float) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + (np.array(values) * 3600e9).astype("timedelta64[ns]")


@given(
    st.lists(st.integers(0, 60), min_size=3, max_size=40, unique=True),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
def test_windows_are_exactly_the_unbroken_allowed_stretches(steps: list[int], length: int, seed: int) -> None:
    """Against the definition, step by step, on any series with holes."""
    # two neighbours at the end fix the step at one hour for most draws; the definition below uses what was found
    times = hours(*sorted(steps))
    allowed = np.random.default_rng(seed).random(len(times)) < 0.8
    step = time_step(times)
    expected = [
        first
        for first in range(len(times) - length + 1)
        if allowed[first : first + length].all() and (np.diff(times[first : first + length]) == step).all()
    ]
    # distances are whole hours, so "within a tenth of the step" is "equal" for steps below ten hours
    if step < np.timedelta64(10, "h"):
        assert window_starts(times, length, allowed).tolist() == expected


def test_gaps_are_listed_with_what_lacks() -> None:
    times = hours(0, 1, 2, 5, 6, 8)
    assert gaps(times) == [
        {"after": "2020-01-01T02:00:00", "before": "2020-01-01T05:00:00", "missing_steps": 2},
        {"after": "2020-01-01T06:00:00", "before": "2020-01-01T08:00:00", "missing_steps": 1},
    ]
    assert window_starts(times, 2).tolist() == [0, 1, 3]
    assert longest_run(times) == 3


def test_months_are_one_step() -> None:
    times = np.arange("2019-01", "2022-01", dtype="datetime64[M]").astype("datetime64[ns]")
    assert gaps(times) == []
    assert is_irregular(times)
    assert len(window_starts(times, 36)) == 1
    assert len(gaps(np.delete(times, 14))) == 1


def test_a_single_time_has_no_step_and_no_pair() -> None:
    assert time_step(hours(0)) is None
    assert gaps(hours(0)) == []
    assert window_starts(hours(0), 1).tolist() == [0]
    assert window_starts(hours(0), 2).size == 0


def test_the_calendar_of_360_days_has_a_thirtieth_of_february() -> None:
    times = np.array([cftime.Datetime360Day(2020, 1, 30) + i * cftime_day() for i in range(33)])
    assert time_step(times) == np.timedelta64(86_400_000, "ms")
    assert len(window_starts(times, 33)) == 1
    assert parse("2020-02-30", "360_day") == milliseconds(times)[30]


def cftime_day() -> object:
    return datetime.timedelta(days=1)


@given(st.integers(0, 4_000_000_000))
def test_text_and_date_are_inverse(second: int) -> None:
    time = np.datetime64(second, "s").astype("datetime64[ns]")
    assert parse(text(time), "proleptic_gregorian") == second * 1000


MOMENT = "2015-11-17T22:00:30.5"


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        np.datetime64(MOMENT, "ms"),
        np.array(MOMENT, dtype="datetime64[ns]"),
        xr.DataArray(np.datetime64(MOMENT, "ns")),
        datetime.datetime.fromisoformat(MOMENT),
        datetime.datetime.fromisoformat(MOMENT + "+00:00"),
        datetime.datetime(2015, 11, 18, 3, 0, 30, 500_000, datetime.timezone(datetime.timedelta(hours=5))),
        pd.Timestamp(MOMENT),
        pd.Timestamp(MOMENT, tz="UTC").tz_convert("Europe/Oslo"),
        cftime.DatetimeNoLeap(2015, 11, 17, 22, 0, 30, 500_000),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("calendar", ["proleptic_gregorian", "noleap"])
def test_a_date_is_the_same_however_it_is_given(value: object, calendar: str) -> None:
    assert parse(value, calendar) == parse(MOMENT, calendar)


def test_a_day_of_datetime_is_a_bare_day() -> None:
    day = datetime.date(2020, 2, 29)
    for end in (False, True):
        assert parse(day, "standard", end=end) == parse("2020-02-29", "standard", end=end)
    with pytest.raises(ValueError, match="'2020-02-29' is not a date of the calendar noleap"):
        parse(day, "noleap")


def test_days_as_floats_are_whole_hours() -> None:
    numbers = xr.Variable("time", np.arange(24) / 24 + 43_000.0, {"units": "days since 1900-01-01"})
    times = decode(numbers, "file.nc: time")
    assert (np.diff(times) == np.timedelta64(1, "h")).all()


@pytest.mark.parametrize(
    "value", ["yesterday", "2020-13-01", "2020-02-30", "16.11.2015", 2020, None, pd.NaT, np.datetime64("NaT")]
)
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        parse(value, "proleptic_gregorian")


def test_a_bare_day_ends_with_its_last_hour() -> None:
    times = hours(*range(96))
    splits = checked_splits(
        {"train": ("2020-01-01", "2020-01-02"), "test": ("2020-01-03", "2020-01-03T11")}, times
    )
    assert splits == {
        "train": ("2020-01-01T00:00:00", "2020-01-02T23:00:00"),
        "test": ("2020-01-03T00:00:00", "2020-01-03T11:00:00"),
    }


@given(st.integers(1, 500))
def test_default_splits_share_all_steps_without_overlap(steps: int) -> None:
    times = hours(*range(steps))
    ds = xr.Dataset(coords={"time": times})
    named = [steps_of_splits(ds, name) for name in default_splits(times)]
    np.testing.assert_array_equal(np.sum(named, axis=0), np.ones(steps))
    assert named[0].sum() == max(1, round(0.7 * steps)) or steps < 4


def test_splits_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split 'test' .* overlaps split 'train'"):
        checked_splits(
            {"train": ("2020-01-01", "2020-01-02"), "test": ("2020-01-02T23", "2020-01-03")},
            hours(*range(96)),
        )


def test_a_split_outside_the_series_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"split 'train' from 2021 to 2022 holds no step .* 2020-01-01T00:00:00"
    ):
        checked_splits({"train": ("2021", "2022")}, hours(*range(5)))
    with pytest.raises(ValueError, match="need one called 'train'"):
        checked_splits({"test": ("2020-01-01", "2020-01-02")}, hours(*range(5)))


def test_splits_survive_the_attribute() -> None:
    ds = xr.Dataset(
        coords={"time": hours(*range(10))},
        attrs={"splits": '{"train": ["2020-01-01T00:00:00", "2020-01-01T03:00:00"]}'},
    )
    assert read_splits(ds) == {"train": ("2020-01-01T00:00:00", "2020-01-01T03:00:00")}
    assert steps_of_splits(ds, "train").tolist() == [True] * 4 + [False] * 6
    with pytest.raises(ValueError, match="split 'summer' is not in the store, which has train"):
        steps_of_splits(ds, "summer")
