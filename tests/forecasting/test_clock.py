"""The times that lie ahead of a start: those of the store, and calendar months beyond it."""

import numpy as np
import pytest
import xarray as xr

from forecasting import clock


def months(place: str, count: int = 30) -> np.ndarray:
    first = np.datetime64("2002-01") + np.arange(count)
    start, after = first.astype("datetime64[ns]"), (first + 1).astype("datetime64[ns]")
    return {
        "first": start,
        "sixteenth": start + np.timedelta64(15, "D"),
        "last": after - np.timedelta64(1, "D"),
        "middle": start + (after - start) // 2,
    }[place]


@pytest.mark.parametrize("place", ["first", "sixteenth", "last", "middle"])
@pytest.mark.parametrize("held", [30, 14])
def test_months_ahead_are_calendar_months_within_and_beyond_the_axis(place: str, held: int) -> None:
    whole = months(place)
    found = clock.ahead(whole[:held], [5, 10], 14, 31 * 86400)
    np.testing.assert_array_equal(found, [whole[6:20], whole[11:25]])


def test_months_of_another_calendar() -> None:
    whole = xr.date_range("2002-01-01", periods=30, freq="MS", calendar="noleap", use_cftime=True).values
    found = clock.ahead(whole[:14], [10], 14, 31 * 86400)
    assert found[0].tolist() == whole[11:25].tolist()


def test_a_regular_axis_goes_on_by_its_step_even_across_a_gap() -> None:
    hours = np.datetime64("2020-01-01T00", "ns") + np.r_[0:5, 9:12] * np.timedelta64(1, "h")
    found = clock.ahead(hours, [3], 4, 3600)
    np.testing.assert_array_equal(found[0], hours[3] + np.arange(1, 5) * np.timedelta64(1, "h"))


def test_an_irregular_axis_is_followed_to_its_gap() -> None:
    minutes = np.array([0, 60, 121, 180, 240, 600])
    times = np.datetime64("2020-01-01T00", "ns") + minutes * np.timedelta64(1, "m")
    found = (clock.ahead(times, [1], 4, 3600)[0] - times[0]) / np.timedelta64(1, "m")
    assert found.tolist() == [121, 180, 240, 300]
