"""Whatever a gauge's file looks like, the same levels come out at the same instants, or a sentence says why not."""

import gzip
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines import read_gauge, read_gauges
from data_pipelines.gauges.record import utc_offset

MAYPORT = Path(__file__).parents[1] / "records" / "mayport_2017.csv.gz"
PLACE: dict[str, Any] = {"latitude": 51.9776, "longitude": 4.1199}
ZONED: dict[str, Any] = {**PLACE, "time_zone": "UTC"}
LEVELS = np.array([-0.27, -0.22, 0.05, 1.01, 0.97, 0.40])  # m, hourly from 2020-01-01 00 UTC
TIMES = np.datetime64("2020-01-01T00", "ns") + np.arange(6) * np.timedelta64(1, "h")


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def rows(pattern: str, *, hours: int = 0, factor: float = 1.0) -> str:
    """One row an hour; ``hours`` is what the clock of the file is ahead of UTC."""
    shifted = (TIMES + np.timedelta64(hours, "h")).astype("datetime64[s]").tolist()
    return "".join(pattern.format(t=t, h=factor * h) + "\n" for t, h in zip(shifted, LEVELS, strict=True))


def table(folder: Path, heading: str = "time (UTC),level (m)", **kwargs: Any) -> Path:
    return written(folder / "gauge.csv", heading + "\n" + rows("{t:%Y-%m-%d %H:%M},{h:.2f}", **kwargs))


def coops_page(folder: Path) -> Path:
    heading = '"Date","Time (GMT)","Predicted (ft)","Preliminary (ft)","Verified (ft)"\n'
    body = rows('"{t:%Y/%m/%d}","{t:%H:%M}","0.1","-","{h:.9f}"', factor=1 / 0.3048)
    first, *others = body.splitlines()
    # The latest levels of a page are preliminary only
    last = others[-1].replace('"-","', '"').removesuffix('"') + '","-"'
    return written(folder / "CO-OPS.csv", heading + "\n".join([first, *others[:-1], last]) + "\n")


def coops_service(folder: Path) -> Path:
    heading = "Date Time, Water Level, Sigma, O or I (for verified), F, R, L, Quality \n"
    return written(folder / "api.csv", heading + rows("{t:%Y-%m-%d %H:%M},{h:.3f},0.01,0,0,0,0,v"))


def noos(folder: Path, zone: str = "MET", hours: int = 1, unit: str = "waterlevel") -> Path:
    heading = f"""#------------------------------------------------------
# Timeseries retrieved from the MATROOS series database
# Created at Mon Nov 19 12:07:20 CET 2007
#------------------------------------------------------
# Location    : hoekvanholland
# Position    : (4.1199,51.9776)
# Source      : observed
# Unit        : {unit}
# Analyse time: most recent
# Timezone    : {zone}
#------------------------------------------------------
"""
    return written(folder / "hoek.noos", heading + rows("{t:%Y%m%d%H%M}   {h:.4f}", hours=hours))


def dia(folder: Path, *, quality: str = "0", cut: int = 0, quantity: str = "WATHTE") -> Path:
    values = [f"{round(100 * h)}/{quality if i == 2 else 0}:" for i, h in enumerate(LEVELS)]
    body = "".join(values[:3]) + "\n" + "".join(values[3 : len(values) - cut]) + "\n"
    heading = f"""[IDT;*DIF*;A;;20200201]
[W3H]
WNS;1
PAR;{quantity};Waterhoogte;J
CPM;10;Oppervlaktewater
EHD;I;cm
HDH;NAP;T.o.v. Normaal Amsterdams Peil
LOC;HOEKVHLD;Hoek van Holland;P;RD;6793000;44400000
TYP;TE
[RKS]
TYD;20200101;0100;20200101;0600;60;min
[TPS]
STA;20200101;0100;20200101;0600;O
[WRD]
"""
    return written(folder / "hoek.dia", heading + body)


def gesla(folder: Path, zone: str = "0", hours: int = 0) -> Path:
    heading = f"""# FORMAT VERSION 3.0 Web: http://gesla.org Email: gesla.help@gmail.com
# SITE NAME Hoek van Holland
# COUNTRY Netherlands
# LATITUDE    51.9776
# LONGITUDE     4.1199
# COORDINATE SYSTEM Geodetic
# TIME ZONE HOURS {zone}
# DATUM INFORMATION NAP
# NULL VALUE -99.9999
# COLUMN 1 Date yyyy/mm/dd
"""
    body = rows("{t:%Y/%m/%d} {t:%H:%M:%S}   {h:.4f} 1 1", hours=hours)
    return written(folder / "hoek-gesla", heading + body)


def uhslc_table(folder: Path) -> Path:
    return written(folder / "h825.csv", rows("{t.year},{t.month},{t.day},{t.hour},{h:.0f}", factor=1000))


def uhslc_netcdf(folder: Path) -> Path:
    path = folder / "h825.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 6)
        file.createDimension("record_id", 1)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 1800-01-01 00:00:00"
        time[:] = (TIMES - np.datetime64("1800-01-01")) / np.timedelta64(1, "D")
        level = file.createVariable("sea_level", "f4", ("record_id", "time"), fill_value=-32767.0)
        level.units = "millimeters"
        level[:] = 1000 * LEVELS[None]
        for name, value in (("lat", 51.9776), ("lon", 4.1199)):
            file.createVariable(name, "f4", ("record_id",))[:] = value
        name = file.createVariable("station_name", str, ("record_id",))
        name[0] = "Hoek van Holland"
    return path


def copernicus(folder: Path, flags: tuple[int, ...] = (1,) * 6) -> Path:
    path = folder / "BO_TS_TG_hoek.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.platform_name, file.sea_level_datum = "Hoek van Holland", "NAP"
        for name, size in (("TIME", 6), ("DEPTH", 1)):
            file.createDimension(name, size)
        time = file.createVariable("TIME", "f8", ("TIME",))
        time.units = "days since 1950-01-01T00:00:00Z"
        time[:] = (TIMES - np.datetime64("1950-01-01")) / np.timedelta64(1, "D")
        for name, value in (("LATITUDE", 51.9776), ("LONGITUDE", 4.1199)):
            file.createVariable(name, "f4", ("TIME",))[:] = value
        level = file.createVariable("SLEV", "i4", ("TIME", "DEPTH"), fill_value=-2147483647)
        level.units, level.scale_factor, level.add_offset = "m", np.float32(0.001), np.float32(0.0)
        level[:] = LEVELS[:, None]
        flag = file.createVariable("SLEV_QC", "i1", ("TIME", "DEPTH"), fill_value=-127)
        flag[:] = np.array(flags)[:, None]
    return path


@pytest.mark.parametrize(
    ("make", "told", "datum"),
    [
        (table, PLACE, "not stated"),
        (coops_page, PLACE, "not stated"),
        (coops_service, {**ZONED, "units": "m", "datum": "MSL"}, "MSL"),
        (noos, {}, "not stated"),
        (dia, {}, "NAP"),
        (gesla, {}, "NAP"),
        (uhslc_table, PLACE, "station zero"),
        (uhslc_netcdf, {}, "station zero"),
        (copernicus, {}, "NAP"),
    ],
)
def test_every_form_gives_the_same_levels_at_the_same_instants(
    make: Any, told: dict[str, Any], datum: str, tmp_path: Path
) -> None:
    ds = read_gauge(make(tmp_path), **told)
    np.testing.assert_array_equal(ds["time"].values, TIMES)
    # Half of the least figure of feet, of millimetres in float32, and of a scale factor of 0.001
    np.testing.assert_allclose(ds["level"], LEVELS, atol=1e-6)
    assert ds["level"].attrs["units"] == "m"
    assert ds.attrs["datum"] == datum
    # The Dutch grid gives Hoek van Holland to a hundred metres of the degrees that others write
    assert ds.attrs["latitude"] == pytest.approx(51.9776, abs=2e-3)
    assert ds.attrs["longitude"] == pytest.approx(4.1199, abs=2e-3)
    assert (ds.attrs["gaps"], ds.attrs["rejected"], ds.attrs["time_step_seconds"]) == (0, 0, 3600.0)


def test_a_series_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    ds = read_gauge(noos(tmp_path))
    ds.to_netcdf(tmp_path / "own.nc")
    again = read_gauge(tmp_path / "own.nc")
    xr.testing.assert_equal(again, ds)
    assert {key: again.attrs[key] for key in ("name", "latitude", "longitude")} == {
        key: ds.attrs[key] for key in ("name", "latitude", "longitude")
    }


def test_the_real_record_of_mayport() -> None:
    ds = read_gauge(MAYPORT, name="Mayport", latitude=30.3967, longitude=-81.43)
    assert ds.sizes["time"] == 8784
    highest = ds["level"].idxmax("time").values
    assert highest == np.datetime64("2017-09-11T07:00")
    assert ds.attrs["gaps"] == 0


def test_levels_of_rijkswaterstaat_are_an_hour_earlier_in_utc(tmp_path: Path) -> None:
    ds = read_gauge(dia(tmp_path))
    assert ds["time"].values[0] == np.datetime64("2020-01-01T00:00")  # 01:00 is written
    assert ds.attrs["source_time_zone"] == "MET"
    with pytest.raises(ValueError, match=r"the file says time zone MET and UTC was given"):
        read_gauge(tmp_path / "hoek.dia", time_zone="UTC")


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", 0), ("gmt", 0), ("MET", 1), ("+01:00", 1), ("UTC-5", -5), ("-03:30", -3.5), ("5.0", 5)],
)
def test_zones_of_one_offset_are_known(zone: str, hours: float) -> None:
    assert utc_offset(zone) == hours


@pytest.mark.parametrize("zone", ["LST/LDT", "Europe/Amsterdam", "MEST", "local", ""])
def test_a_zone_without_one_offset_is_none(zone: str, tmp_path: Path) -> None:
    assert utc_offset(zone) is None
    path = table(tmp_path, "time,level (m)")
    with pytest.raises(
        ValueError,
        match=r"is no one offset from UTC; write the times in UTC, or in standard time with hours from it",
    ):
        read_gauge(path, **PLACE, time_zone=zone)


@pytest.mark.parametrize("form", ["{t:%Y-%m-%dT%H:%M}Z", "{t:%Y-%m-%d %H:%M:%S}+00:00"])
def test_zones_in_the_times_themselves_are_read(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / "gauge.csv", "time,level (cm)\n" + rows(form + ",{h:.1f}", factor=100))
    np.testing.assert_allclose(read_gauge(path, **PLACE)["level"], LEVELS, atol=1e-12)


def test_a_zone_west_of_greenwich_is_added(tmp_path: Path) -> None:
    ds = read_gauge(gesla(tmp_path, "-5", hours=-5))
    np.testing.assert_array_equal(ds["time"].values, TIMES)


def test_comments_say_what_a_table_does_not(tmp_path: Path) -> None:
    heading = (
        "# name: Hoek\n# latitude: 51.98\n# longitude: 355.88\n# time zone: MET\n# units: cm\n# datum: NAP\n"
    )
    path = written(
        tmp_path / "x.csv", heading + "time;level\n" + rows("{t:%Y-%m-%d %H:%M};{h:.0f}", hours=1, factor=100)
    )
    ds = read_gauge(path)
    np.testing.assert_array_equal(ds["time"].values, TIMES)
    np.testing.assert_allclose(ds["level"], LEVELS, atol=1e-12)
    assert (ds.attrs["name"], ds.attrs["datum"], ds.attrs["longitude"]) == (
        "Hoek",
        "NAP",
        pytest.approx(-4.12),
    )


def test_a_gap_is_told(tmp_path: Path) -> None:
    lines = table(tmp_path).read_text().splitlines()
    lines[3] = lines[3].split(",")[0] + ","
    ds = read_gauge(written(tmp_path / "gap.csv", "\n".join(lines)), **PLACE)
    assert ds.sizes["time"] == 5
    assert (ds.attrs["gaps"], ds.attrs["longest_gap_hours"]) == (1, 2.0)


def test_flagged_levels_are_left_out_and_counted(tmp_path: Path) -> None:
    for path in (dia(tmp_path, quality="50"), copernicus(tmp_path, (1, 1, 4, 1, 2, 1))):
        ds = read_gauge(path)
        assert TIMES[2] not in ds["time"].values
        assert (ds.sizes["time"], ds.attrs["rejected"], ds.attrs["gaps"]) == (5, 1, 1)
    assert read_gauge(dia(tmp_path, quality="99")).attrs["rejected"] == 0  # a gap, and no wrong level
    text = gesla(tmp_path).read_text().replace("1.0100 1 1", "1.0100 4 0").replace("0.9700 1", "-99.9999 5")
    ds = read_gauge(written(tmp_path / "flags", text))
    assert (ds.sizes["time"], ds.attrs["rejected"]) == (4, 1)
    text = noos(tmp_path).read_text().replace("0.9700", "0.9700E")
    assert read_gauge(written(tmp_path / "flag.noos", text)).attrs["rejected"] == 1


def test_a_listing_says_what_the_files_do_not(tmp_path: Path) -> None:
    coops_service(tmp_path)
    dia(tmp_path)
    listing = written(
        tmp_path / "gauges.toml",
        '[Elsewhere]\nfile = "api.csv"\nlatitude = 52\nlongitude = 4.5\ntime_zone = "MET"\nunits = "m"\n'
        '[Hoek]\nfile = "hoek.dia"\n',
    )
    elsewhere, hoek = read_gauges(listing)
    assert elsewhere.attrs["name"] == "Elsewhere"
    assert elsewhere["time"].values[0] == TIMES[0] - np.timedelta64(1, "h")
    assert (hoek.attrs["name"], hoek.attrs["datum"]) == ("Hoek", "NAP")


def test_several_series_of_one_file_are_several_gauges(tmp_path: Path) -> None:
    one = noos(tmp_path).read_text()
    two = one.replace("hoekvanholland", "den helder")
    found = read_gauges(written(tmp_path / "two.noos", one + two))
    assert [ds.attrs["name"] for ds in found] == ["hoekvanholland", "den helder"]
    with pytest.raises(ValueError, match=r"two series are of hoekvanholland; give one file a gauge"):
        read_gauges(written(tmp_path / "twice.noos", one + one))
    with pytest.raises(ValueError, match="holds 2 gauges; read it with read_gauges"):
        read_gauge(tmp_path / "two.noos")


def test_a_table_holds_several_gauges_by_name(tmp_path: Path) -> None:
    heading = "station,latitude,longitude,time_utc,level_cm\n"
    body = rows("Hoek,51.98,4.12,{t:%Y-%m-%dT%H:%M},{h:.0f}", factor=100)
    body += rows("Den Helder,52.96,4.75,{t:%Y-%m-%dT%H:%M},{h:.0f}", factor=200)
    hoek, helder = read_gauges(written(tmp_path / "two.csv", heading + body))
    assert [ds.attrs["name"] for ds in (hoek, helder)] == ["Hoek", "Den Helder"]
    assert (helder.attrs["latitude"], helder.attrs["longitude"]) == (52.96, 4.75)
    np.testing.assert_allclose(2 * hoek["level"], helder["level"], atol=1e-12)
    np.testing.assert_array_equal(helder["time"].values, TIMES)
    moving = heading.replace("station,", "") + rows("51.9{t.hour},4.12,{t:%Y-%m-%dT%H:%M},{h:.0f}")
    with pytest.raises(
        ValueError, match="column 'latitude' holds 6 values for one gauge; give each gauge one place"
    ):
        read_gauges(written(tmp_path / "moving.csv", moving))
    unnamed = heading + body.replace("Hoek,", ",", 1)
    with pytest.raises(ValueError, match="some rows name no gauge in column 'station'"):
        read_gauges(written(tmp_path / "unnamed.csv", unnamed))


def test_the_unit_behind_a_colon_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "Datetime,hourly_height:m\n" + rows("{t:%Y-%m-%d %H:%M:%S},{h:.3f}"))
    np.testing.assert_allclose(read_gauge(path, **ZONED)["level"], LEVELS, atol=1e-12)


BAD = {
    "no zone": (
        "time,level (m)\n",
        {},
        "the time zone is not known, and an hour of the wrong one turns the tide by 29",
    ),
    "no unit": ("time (UTC),level\n", {}, 'the unit of the levels is not known; give it, as in units = "m"'),
    "no length": ("time (UTC),level\n", {"units": "K"}, "the unit of the levels is 'K', which is no length"),
    "two units": ("time (UTC),level (m)\n", {"units": "cm"}, "the file says units m and cm was given"),
    "summer time": (
        "time (LST/LDT),level (m)\n",
        {},
        "the time zone is 'LST/LDT', which is no one offset from UTC",
    ),
    "no time": ("when,level (m)\n", {}, "no column is named like a time .when, level .m..; name it 'time'"),
    "bad place": ("time (UTC),level (m)\n", {"latitude": 95.0}, "95 N, 4.1199 E is no place on Earth"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_known_is_asked_for_in_a_sentence(case: str, tmp_path: Path) -> None:
    heading, told, sentence = BAD[case]
    path = table(tmp_path, heading.strip())
    with pytest.raises(ValueError, match=sentence) as caught:
        read_gauge(path, **(PLACE | told))
    assert str(caught.value).startswith("gauge.csv: ")
    assert str(caught.value).endswith(".")


def test_a_gauge_without_a_position_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the position is not known; give latitude and longitude"):
        read_gauge(table(tmp_path))
    metres = noos(tmp_path).read_text().replace("(4.1199,51.9776)", "(64040,444970)")
    with pytest.raises(ValueError, match="the position is not known"):
        read_gauge(written(tmp_path / "metres.noos", metres))


def test_rows_out_of_order_or_twice_are_refused(tmp_path: Path) -> None:
    head, *body = table(tmp_path).read_text().splitlines()
    wrong = "\n".join([head, body[0], body[2], body[1]])
    with pytest.raises(ValueError, match=r"row 3, 2020-01-01T01:00:00, is earlier than the row before it"):
        read_gauge(written(tmp_path / "unsorted.csv", wrong), **PLACE)
    twice = "\n".join([head, body[0], body[1], body[1], body[2]])
    with pytest.raises(
        ValueError, match=r"2020-01-01T01:00:00 comes twice \(rows 2 and 3, 1 such pairs in all\)"
    ):
        read_gauge(written(tmp_path / "twice.csv", twice), **PLACE)


def test_numbers_that_stand_for_nothing_are_refused_until_they_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "fill.csv", table(tmp_path).read_text().replace("1.01", "-999"))
    with pytest.raises(
        ValueError, match=r"1 level lies at more than 20 m .* such as -999 m; .* missing = -999"
    ):
        read_gauge(path, **PLACE)
    assert read_gauge(path, **PLACE, missing=-999).sizes["time"] == 5
    words = written(tmp_path / "words.csv", table(tmp_path).read_text().replace("1.01", "high"))
    with pytest.raises(ValueError, match=r"row 4 of column 'level .m.' holds 'high', which is no number"):
        read_gauge(words, **PLACE)
    two = written(tmp_path / "two.csv", "time (UTC),height one,height two\n2020-01-01,1,2\n2020-01-02,1,2\n")
    with pytest.raises(ValueError, match=r"several columns could be the level .height one, height two."):
        read_gauge(two, **PLACE, units="m")


def test_broken_and_foreign_files_are_refused(tmp_path: Path) -> None:
    for make, sentence in (
        (lambda: dia(tmp_path, cut=1), "tells of 6 levels and 5 follow; the file was cut off"),
        (lambda: dia(tmp_path, quantity="DEBIET"), "the series is of 'DEBIET'"),
        (
            lambda: noos(tmp_path, unit="wave_height"),
            "the series is of 'wave_height'; a gauge's is of 'waterlevel'",
        ),
        (
            lambda: copernicus(tmp_path, (4,) * 6),
            "0 of 6 rows hold a level, and 6 are flagged as not to be used",
        ),
        (lambda: written(tmp_path / "empty.csv", ""), "is empty; give CSV"),
        (lambda: tmp_path / "absent.csv", "does not exist or is no file"),
        (lambda: written(tmp_path / "list.toml", "[A]\nlatitude = 3\n"), "'A' names no file"),
        (
            lambda: written(tmp_path / "key.toml", '[A]\nfile = "x"\nlat = 3\n'),
            "'A.lat' is not known; say file, latitude",
        ),
        (
            lambda: written(tmp_path / "kind.toml", '[A]\nfile = "x"\nlatitude = "3"\n'),
            "it is written as a number",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_gauges(make())
    xr.Dataset({"thetao": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(ValueError, match=r"holds thetao and no level by time .SLEV, sea_level, level.; give"):
        read_gauge(tmp_path / "other.nc")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(b"time,level")[:-6])
    with pytest.raises(ValueError, match=r"torn.csv.gz cannot be decompressed"):
        read_gauge(tmp_path / "torn.csv.gz")
