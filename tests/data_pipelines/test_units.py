"""Every spelling of a unit gives the same number, and an unknown one is refused."""

import pytest

from data_pipelines.units import conversion
from oceanop.variables import VARIABLES


@pytest.mark.parametrize(
    ("name", "value", "unit", "expected"),
    [
        *(("uo", 2.5, unit, 2.5) for unit in ("m s-1", "m/s", "M/S", "meter second-1", "m s**-1", "m.s-1")),
        ("uo", 2.5, "metres/second", 2.5),
        ("uo", 250, "cm/s", 2.5),
        ("uo", 250, "cm s-1", 2.5),
        ("u10", 10, "knots", 5.144444),
        ("u10", 36, "km/h", 10),
        *(("tos", 10, unit, 10) for unit in ("degC", "Deg C", "celsius", "degree_C", "degrees_celsius", "°C")),
        ("tos", 283.15, "K", 10),
        ("tos", 283.15, "kelvin", 10),
        ("tos", 50, "degF", 10),
        *(("so", 35, unit, 35) for unit in ("1e-3", "PSU", "g/kg", "g kg-1", "0.001", "PPT")),
        ("zos", 120, "cm", 1.2),
        ("zos", 1.2, "meter", 1.2),
        ("siconc", 40, "%", 0.4),
        ("siconc", 0.4, "1", 0.4),
        ("msl", 1013, "hPa", 101300),
        ("msl", 1013, "MB", 101300),
        ("msl", 101300, "Pa", 101300),
        ("tauu", 0.1, "N/m2", 0.1),
        ("tauu", 1, "dyn cm-2", 0.1),
        ("deptho", 1, "km", 1000),
        ("cell_area", 2, "km2", 2e6),
        # beyond the table, as UDUNITS reads it
        ("uo", 250, "0.01 m s-1", 2.5),
        ("u10", 10, "ft/s", 3.048),
        ("zos", 1, "fathom", 6 * 1200 / 3937),  # of the US survey
        ("msl", 10.13, "dbar", 101300),
        ("tos", 509.67, "degR", 10),
        ("so", 0.035, "kg kg-1", 35),
        ("so", 0.035, "kg/kg", 35),
        ("siconc", 400, "1e-3", 0.4),
        ("tauu", 1, "kg m-1 s-2", 1),
        *(("tos", 10, unit, 10) for unit in ("DEG C", "degree_Celsius", "deg_C", "C")),
        *(("so", 35, unit, 35) for unit in ("psu", "G/KG", "1E-3", "pss-78", "PSS", "‰")),
    ],
)  # fmt: skip
def test_conversion(name: str, value: float, unit: str, expected: float) -> None:
    factor, offset = conversion(name, unit, "file.nc: variable 'v'")
    assert value * factor + offset == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", list(VARIABLES))
def test_the_canonical_unit_changes_nothing(name: str) -> None:
    assert conversion(name, VARIABLES[name].units, "file.nc") == (1.0, 0.0)


def test_unknown_unit_is_refused_with_a_cure() -> None:
    with pytest.raises(
        ValueError, match=r"^a\.nc: variable 't' has unit 'bananas'; sea surface temperature is kept in degC"
    ):
        conversion("tos", "bananas", "a.nc: variable 't'")


@pytest.mark.parametrize(
    ("name", "unit"),
    [("siconc", "degree"), ("so", "rad"), ("tos", "m"), ("zos", "m s-1"), ("uo", "m"), ("msl", "W/m2")],
)
def test_a_unit_of_another_quantity_is_refused(name: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f"^a\\.nc has unit '{unit}'; .* is kept in {VARIABLES[name].units}"):
        conversion(name, unit, "a.nc")


@pytest.mark.parametrize("unit", [None, "", " "])
def test_absent_unit_is_refused(unit: str | None) -> None:
    with pytest.raises(ValueError, match=r"^a\.nc has no unit; salinity is kept in 1e-3"):
        conversion("so", unit, "a.nc")
