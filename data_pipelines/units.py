"""Units that sources write, and how each becomes the one unit the project keeps.

The tables hold what files write and UDUNITS does not know or takes for something else (``C`` is a coulomb there, ``mb``
a millibarn); it reads the rest.
"""

import re

from oceanop.variables import VARIABLES

# factor and offset that turn the written unit into the canonical one: value * factor + offset
Conversion = tuple[float, float]

_LENGTH = {"m": (1.0, 0.0), "meter": (1.0, 0.0), "meters": (1.0, 0.0), "metre": (1.0, 0.0), "metres": (1.0, 0.0),
           "cm": (0.01, 0.0), "mm": (0.001, 0.0), "km": (1000.0, 0.0)}  # fmt: skip
_SPEED = {"m s-1": (1.0, 0.0), "cm s-1": (0.01, 0.0), "mm s-1": (0.001, 0.0), "km h-1": (1 / 3.6, 0.0),
          "knot": (1852 / 3600, 0.0), "knots": (1852 / 3600, 0.0), "kt": (1852 / 3600, 0.0)}  # fmt: skip
_CELSIUS = (
    "degc",
    "c",
    "celsius",
    "deg c",
    "degree c",
    "degrees c",
    "degree celsius",
    "degrees celsius",
    "°c",
)
_TEMPERATURE = dict.fromkeys(_CELSIUS, (1.0, 0.0))
_TEMPERATURE |= dict.fromkeys(("k", "kelvin", "degk", "degree k", "degrees k"), (1.0, -273.15))
_TEMPERATURE |= dict.fromkeys(("degf", "fahrenheit", "degree f", "degrees f", "deg f"), (5 / 9, -160 / 9))
_PER_MILLE = (
    "1e-3",
    "1.e-3",
    "1.0e-3",
    "0.001",
    "psu",
    "pss",
    "pss-78",
    "g kg-1",
    "ppt",
    "10-3",
    "permil",
    "‰",
)
_SALINITY = dict.fromkeys(_PER_MILLE, (1.0, 0.0))
_FRACTION = dict.fromkeys(("1", "1.0", "fraction", "-", "(0 - 1)", "(0-1)", "0-1"), (1.0, 0.0))
_FRACTION |= dict.fromkeys(("%", "percent", "0.01"), (0.01, 0.0))
_STRESS = {"n m-2": (1.0, 0.0), "pa": (1.0, 0.0), "newton meter-2": (1.0, 0.0), "dyn cm-2": (0.1, 0.0)}
_PRESSURE = {"pa": (1.0, 0.0), "pascal": (1.0, 0.0), "hpa": (100.0, 0.0), "mb": (100.0, 0.0), "mbar": (100.0, 0.0),
             "millibar": (100.0, 0.0), "millibars": (100.0, 0.0), "kpa": (1000.0, 0.0), "bar": (1e5, 0.0)}  # fmt: skip
_AREA = {"m2": (1.0, 0.0), "km2": (1e6, 0.0), "cm2": (1e-4, 0.0)}

_TABLE: dict[str, dict[str, Conversion]] = {
    "m": _LENGTH,
    "m s-1": _SPEED,
    "degC": _TEMPERATURE,
    "1e-3": _SALINITY,
    "1": _FRACTION,
    "N m-2": _STRESS,
    "Pa": _PRESSURE,
    "m2": _AREA,
}


def conversion(name: str, units: object, where: str) -> Conversion:
    """Factor and offset from a written unit to the canonical unit of a variable.

    Parameters
    ----------
    name
        Canonical variable.
    units
        The ``units`` attribute of the source, None where it has none.
    where
        File and variable, for the error.

    Raises
    ------
    ValueError
        If the unit is absent or means nothing for this quantity.
    """
    canonical = VARIABLES[name].units
    factors = _TABLE[canonical]
    if units is None or not str(units).strip():
        raise ValueError(
            f"{where} has no unit; {VARIABLES[name].long_name} is kept in {canonical}. Set its attribute 'units' "
            "in the file to what the numbers are in."
        )
    found = factors.get(normalised(str(units)))
    if found is None:
        found = _by_udunits(str(units), canonical)
    if found is None:
        raise ValueError(
            f"{where} has unit '{units}'; {VARIABLES[name].long_name} is kept in {canonical} and read from "
            f"{', '.join(list(factors)[:8])}. Declare the source's unit or convert it."
        )
    return found


def _by_udunits(units: str, canonical: str) -> Conversion | None:
    """What UDUNITS makes of a unit; None where it does not know it, or it is of another quantity."""
    import cf_units  # here, as it takes a third of a second and few files need it

    ours = cf_units.Unit(canonical)
    try:
        with cf_units.suppress_errors():  # the library complains on stderr besides
            unit = cf_units.Unit(units)
    except ValueError:
        return None
    # An angle is a number to UDUNITS, and a fraction or a salinity in degrees is a mistake.
    if not unit.is_convertible(ours) or (ours.is_dimensionless() and "rad" in str(unit.definition)):
        return None
    zero, one = (float(unit.convert(value, ours)) for value in (0.0, 1.0))
    return one - zero, zero


def metres_in(units: object) -> float | None:
    """Length of a unit, m; None where it is no length (``100 km`` is one, and Arctic grids are kept in it)."""
    found = _LENGTH.get(normalised(str(units))) or _by_udunits(str(units), "m")
    return None if found is None else found[0]


def normalised(units: str) -> str:
    """One spelling for ``m/s``, ``M/S``, ``meter second-1``, ``m s**-1``, ``m.s^-1``."""
    text = units.strip().lower().replace("_", " ").replace("**", "").replace("^", "")
    text = re.sub(r"\b(?:metres?|meters?)(?=[\s./-])", "m", text)
    text = re.sub(r"\b(?:seconds?|sec)\b", "s", text)
    text = re.sub(r"(?<=[a-z])\.(?=[a-z])", " ", text)
    text = re.sub(r"\s*/\s*([a-z]+)(\d*)", lambda match: f" {match[1]}-{match[2] or 1}", text)
    return re.sub(r"\s+", " ", text).strip()
