"""Odd but legal files of gauges are read as they are meant, and what would be another level or hour is refused."""

from pathlib import Path

import netCDF4
import numpy as np
import pytest

from data_pipelines import read_gauge, read_gauges
from tests.data_pipelines.test_gauges import (
    LEVELS,
    PLACE,
    TIMES,
    copernicus,
    dia,
    gesla,
    noos,
    rows,
    table,
    written,
)


def test_decimal_commas_are_read_where_they_part_no_columns(tmp_path: Path) -> None:
    body = rows("{t:%Y-%m-%d %H:%M};{h:.2f}").replace(".", ",")
    ds = read_gauge(written(tmp_path / "x.csv", "\ufefftime (UTC);level (m)\r\n\r\n" + body), **PLACE)
    np.testing.assert_allclose(ds["level"], LEVELS, atol=1e-12)
    parted = written(tmp_path / "y.csv", "time (UTC),level (m)\n" + body.replace(";", ","))
    with pytest.raises(ValueError, match="rows have more cells than the heading; part columns by semicolons"):
        read_gauge(parted, **PLACE)
    trailing = table(tmp_path).read_text().replace("\n", ",\n", 3)
    np.testing.assert_allclose(read_gauge(written(tmp_path / "z.csv", trailing), **PLACE)["level"], LEVELS)


def test_zones_and_units_told_twice_count_once_and_must_agree(tmp_path: Path) -> None:
    """An hour's zone in every time and again in a comment is one hour, not two."""
    body = rows("{t:%Y-%m-%dT%H:%M}+01:00,{h:.2f}", hours=1)
    both = written(tmp_path / "x.csv", "# time zone: MET\ntime,level (m)\n" + body)
    np.testing.assert_array_equal(read_gauge(both, **PLACE)["time"], TIMES)
    other = written(tmp_path / "y.csv", "# time zone: UTC\ntime,level (m)\n" + body)
    with pytest.raises(
        ValueError, match=r"the zone is named UTC, and the times, such as '2020.*\+01:00', tell"
    ):
        read_gauge(other, **PLACE)
    head = "# time zone: UTC\ntime (MET),level (m)\n"
    with pytest.raises(ValueError, match="comments and heading name the zones UTC and MET; keep the one"):
        read_gauge(written(tmp_path / "z.csv", head + rows("{t:%Y-%m-%d %H:%M},{h:.2f}")), **PLACE)
    units = table(tmp_path, "# units: cm\ntime (UTC),level (m)")
    with pytest.raises(ValueError, match="the comments say units cm and the columns m; correct the file"):
        read_gauge(units, **PLACE)


def test_the_hour_that_comes_twice_in_autumn_is_read_where_its_offset_stands(tmp_path: Path) -> None:
    stamps = [
        "2020-10-25T01:00+02:00",
        "2020-10-25T02:00+02:00",
        "2020-10-25T02:00+01:00",
        "2020-10-25T03:00+01:00",
    ]
    body = "".join(f"{stamp},{i}\n" for i, stamp in enumerate(stamps))
    ds = read_gauge(written(tmp_path / "x.csv", "time,level (m)\n" + body), **PLACE)
    assert ds["time"].values[0] == np.datetime64("2020-10-24T23:00")
    assert (np.diff(ds["time"].values) == np.timedelta64(1, "h")).all()


def test_standard_time_of_a_place_takes_the_offset_given_and_summer_time_none(tmp_path: Path) -> None:
    path = table(tmp_path, "time (LST),level (m)", hours=-5)
    np.testing.assert_array_equal(read_gauge(path, **PLACE, time_zone="-05:00")["time"], TIMES)
    with pytest.raises(ValueError, match="the file says time zone LST/LDT and -05:00 was given"):
        read_gauge(table(tmp_path, "time (LST/LDT),level (m)"), **PLACE, time_zone="-05:00")


@pytest.mark.parametrize(
    "heading", ["Predicted (m)", "residual_m", "significant wave height (m)", "skew surge (m)"]
)
def test_what_is_a_length_and_no_level_is_refused(heading: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no measured level; give the level of the water itself"):
        read_gauge(table(tmp_path, f"time (UTC),{heading}"), **PLACE)
    beside = "time (UTC),level (m),validated," + heading + "\n"
    beside += rows("{t:%Y-%m-%d %H:%M},{h:.2f},yes,9")
    np.testing.assert_allclose(read_gauge(written(tmp_path / "x.csv", beside), **PLACE)["level"], LEVELS)


@pytest.mark.parametrize(
    ("filler", "unit", "factor"), [(-999, "cm", 100), (-9999, "mm", 1000), (9.99, "m", 1)]
)
def test_fillers_small_enough_for_a_level_are_asked_about(
    filler: float, unit: str, factor: int, tmp_path: Path
) -> None:
    body = rows("{t:%Y-%m-%d %H:%M},{h:.2f}", factor=factor).replace(f",{factor * 1.01:.2f}", f",{filler}")
    path = written(tmp_path / "x.csv", f"time (UTC),level ({unit})\n" + body)
    with pytest.raises(
        ValueError, match=rf"1 level lies at {filler:g} {unit}, apart from all others and all nines"
    ):
        read_gauge(path, **PLACE)
    assert read_gauge(path, **PLACE, missing=filler).sizes["time"] == 5
    assert read_gauge(path, **PLACE, missing=12345).sizes["time"] == 6


def test_dia_keeps_decimals_and_refuses_computed_tides(tmp_path: Path) -> None:
    text = dia(tmp_path).read_text()
    for digits in ("-27,4", "-27.4", "-,274E+02"):
        again = written(tmp_path / "decimal.dia", text.replace("-27/0", f"{digits}/0"))
        assert read_gauge(again)["level"].values[0] == pytest.approx(-0.274, abs=1e-12)
    for quantity in ("WATHTBRKD", "WATHTEVERWACHT"):
        with pytest.raises(ValueError, match=f"the series is of '{quantity}'; a gauge's is of WATHTE"):
            read_gauge(dia(tmp_path, quantity=quantity))
    for old, new, sentence in (
        ("-27/0", "high/0", "'high/0' is no level and quality, such as 127/0"),
        ("0600;60;min", "0600;0;min", "which are no first date, last date and step"),
        ("20200101;0100;20200101;0600;60", "2020x101;0100;20200101;0600;60", "which are no first date"),
        ("6793000", "679300000", "the position is not known"),
        ("EHD;I;cm", "EHD;I", "the unit of the levels is not known"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_gauge(written(tmp_path / "broken.dia", text.replace(old, new)))


def test_dia_blocks_of_a_place_that_follow_each_other_are_one_series(tmp_path: Path) -> None:
    text = dia(tmp_path, quality="50").read_text()
    block = text[text.index("[W3H]") :]
    later = block.replace("20200101", "20200103")
    elsewhere = block.replace("HOEKVHLD;Hoek van Holland", "DENHDR;Den Helder")
    hoek, helder = read_gauges(written(tmp_path / "both.dia", text + elsewhere + later))
    assert (hoek.attrs["name"], helder.attrs["name"]) == ("Hoek van Holland", "Den Helder")
    assert (hoek.sizes["time"], hoek.attrs["rejected"], helder.sizes["time"]) == (10, 2, 5)
    assert hoek["time"].values[-1] == TIMES[-1] + np.timedelta64(2, "D")
    np.testing.assert_array_equal(hoek["level"][:5], hoek["level"][5:])
    with pytest.raises(ValueError, match="two series are of Hoek van Holland; give one file a gauge"):
        read_gauges(written(tmp_path / "twice.dia", text + block))


def test_a_noos_series_without_rows_lends_its_heading_to_none(tmp_path: Path) -> None:
    text = noos(tmp_path).read_text()
    empty = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    full = text.replace("hoekvanholland", "den helder").replace("# Timezone    : MET\n", "")
    with pytest.raises(ValueError, match="den helder: the time zone is not known"):
        read_gauges(written(tmp_path / "x", empty + full))
    wrong = text.replace("202001010300", "202013010300")
    with pytest.raises(ValueError, match=r"a date is none .Month out of range"):
        read_gauges(written(tmp_path / "y", wrong))


def test_gesla_zones_of_half_hours_and_broken_rows(tmp_path: Path) -> None:
    ds = read_gauge(gesla(tmp_path, "5.5"))
    assert ds["time"].values[0] == TIMES[0] - np.timedelta64(330, "m")
    text = gesla(tmp_path).read_text()
    for old, new, sentence in (
        ("0.0500 1 1\n", "0.0500\n", "row 3 has no flag"),
        ("LATITUDE    51.9776", "LATITUDE 51N", "'LATITUDE' says '51N', which is no number"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_gauge(written(tmp_path / "broken", text.replace(old, new)))


def test_copernicus_flags_of_times_and_the_datum_of_the_level_are_read(tmp_path: Path) -> None:
    path = copernicus(tmp_path)
    with netCDF4.Dataset(path, "a") as file:
        file["SLEV"].sea_level_datum = "OD Malin"
        file.createVariable("TIME_QC", "i1", ("TIME",))[:] = [1, 1, 4, 1, 1, 1]
    ds = read_gauge(path)
    assert (ds.sizes["time"], ds.attrs["rejected"], ds.attrs["datum"]) == (5, 1, "OD Malin")
    assert TIMES[2] not in ds["time"].values


def test_rows_of_uhslc_dates_and_comments_that_cannot_be_read_are_told_in_a_sentence(tmp_path: Path) -> None:
    for content, sentence in (
        ("2020,1,1,0,5\n2020,1,x,1,6\n", "the rows are not year, month, day, hour and millimetres"),
        ("2020,1,1,0,5\n2020,13,1,1,6\n", "the rows are not year, month, day, hour and millimetres"),
        (
            "time (UTC),level (m)\n2020-01-01 23:00,1\n2020-01-01 24:00,1\n",
            "time of row 2, '2020-01-01 24:00', cannot",
        ),
        ("# latitude: 51.9 N\ntime (UTC),level (m)\n", "'# latitude' says '51.9 N', which is no number"),
        ("time (UTC),level (m)\n1600-01-01,1\n1600-01-02,1\n", "1600-01-01"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            read_gauge(written(tmp_path / "x.csv", content), **PLACE)
        assert str(caught.value).startswith("x.csv: ")


def test_names_with_letters_of_western_europe_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("# name: Göteborg\n".encode("latin-1") + table(tmp_path).read_bytes())
    assert read_gauge(path, **PLACE).attrs["name"] == "Göteborg"
