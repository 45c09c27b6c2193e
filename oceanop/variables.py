"""The words of the project: one table of ocean and atmosphere variables, their CF names, units and roles."""

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["state", "forcing", "static", "boundary"]


@dataclass(frozen=True)
class Variable:
    """One physical quantity as the project keeps it.

    Attributes
    ----------
    name
        Canonical short name, the CMIP/Copernicus word where there is one.
    standard_name
        CF standard name.
    units
        The unit every store holds, in UDUNITS spelling.
    role
        ``state`` is forecast, ``forcing`` is known ahead, ``static`` does not change in time; ``boundary`` is a state
        of a parent model, known ahead too.
    valid_range
        Values outside are not possible on Earth; a source holding them is misread.
    partner
        The other horizontal component, if the quantity is one half of a vector.
    axis
        Which component of the vector: 0 eastward, 1 northward; None for a scalar.
    aliases
        Other CF standard names that mean the same quantity here.
    grid_standard_names
        Standard names of the component along a model grid's own axis, to be rotated.
    """

    name: str
    standard_name: str
    units: str
    role: Role
    valid_range: tuple[float, float]
    partner: str | None = None
    axis: Literal[0, 1] | None = None
    aliases: tuple[str, ...] = ()
    grid_standard_names: tuple[str, ...] = ()
    long_name: str = ""


_TABLE = (
    Variable(
        "zos",
        "sea_surface_height_above_geoid",
        "m",
        "state",
        (-20.0, 20.0),
        aliases=(
            "sea_surface_height",
            "sea_surface_elevation",
            "sea_surface_height_above_sea_level",
            "sea_surface_height_above_mean_sea_level",
            "sea_surface_elevation_anomaly",
        ),
        long_name="sea level",
    ),
    Variable(
        "uo",
        "eastward_sea_water_velocity",
        "m s-1",
        "state",
        (-10.0, 10.0),
        partner="vo",
        axis=0,
        aliases=("surface_eastward_sea_water_velocity",),
        grid_standard_names=("x_sea_water_velocity", "sea_water_x_velocity"),
        long_name="eastward current",
    ),
    Variable(
        "vo",
        "northward_sea_water_velocity",
        "m s-1",
        "state",
        (-10.0, 10.0),
        partner="uo",
        axis=1,
        aliases=("surface_northward_sea_water_velocity",),
        grid_standard_names=("y_sea_water_velocity", "sea_water_y_velocity"),
        long_name="northward current",
    ),
    Variable(
        "ubar",
        "barotropic_eastward_sea_water_velocity",
        "m s-1",
        "state",
        (-10.0, 10.0),
        partner="vbar",
        axis=0,
        grid_standard_names=("barotropic_sea_water_x_velocity",),
        long_name="depth-mean eastward current",
    ),
    Variable(
        "vbar",
        "barotropic_northward_sea_water_velocity",
        "m s-1",
        "state",
        (-10.0, 10.0),
        partner="ubar",
        axis=1,
        grid_standard_names=("barotropic_sea_water_y_velocity",),
        long_name="depth-mean northward current",
    ),
    Variable(
        "thetao",
        "sea_water_potential_temperature",
        "degC",
        "state",
        (-4.0, 45.0),
        aliases=("sea_water_temperature", "sea_water_conservative_temperature"),
        long_name="potential temperature",
    ),
    Variable(
        "so",
        "sea_water_salinity",
        "1e-3",
        "state",
        (0.0, 50.0),
        aliases=("sea_water_practical_salinity", "sea_water_absolute_salinity"),
        long_name="salinity",
    ),
    Variable(
        "tos",
        "sea_surface_temperature",
        "degC",
        "state",
        (-4.0, 45.0),
        aliases=("surface_temperature",),
        long_name="sea surface temperature",
    ),
    Variable(
        "siconc",
        "sea_ice_area_fraction",
        "1",
        "state",
        (-0.01, 1.01),
        long_name="sea ice area fraction",
    ),
    Variable(
        "u10",
        "eastward_wind",
        "m s-1",
        "forcing",
        (-120.0, 120.0),
        partner="v10",
        axis=0,
        grid_standard_names=("x_wind", "grid_eastward_wind"),
        long_name="eastward wind at 10 m",
    ),
    Variable(
        "v10",
        "northward_wind",
        "m s-1",
        "forcing",
        (-120.0, 120.0),
        partner="u10",
        axis=1,
        grid_standard_names=("y_wind", "grid_northward_wind"),
        long_name="northward wind at 10 m",
    ),
    Variable(
        "tauu",
        "surface_downward_eastward_stress",
        "N m-2",
        "forcing",
        (-20.0, 20.0),
        partner="tauv",
        axis=0,
        grid_standard_names=("surface_downward_x_stress", "downward_x_stress_at_sea_water_surface"),
        long_name="eastward wind stress",
    ),
    Variable(
        "tauv",
        "surface_downward_northward_stress",
        "N m-2",
        "forcing",
        (-20.0, 20.0),
        partner="tauu",
        axis=1,
        grid_standard_names=("surface_downward_y_stress", "downward_y_stress_at_sea_water_surface"),
        long_name="northward wind stress",
    ),
    Variable(
        "msl",
        "air_pressure_at_mean_sea_level",
        "Pa",
        "forcing",
        (80000.0, 110000.0),
        aliases=("air_pressure_at_sea_level",),
        long_name="air pressure at mean sea level",
    ),
    Variable("mask", "sea_binary_mask", "1", "static", (0.0, 1.0), long_name="ocean mask"),
    Variable(
        "deptho",
        "sea_floor_depth_below_geoid",
        "m",
        "static",
        (-500.0, 12000.0),
        aliases=("sea_floor_depth", "sea_floor_depth_below_sea_level"),
        long_name="sea floor depth",
    ),
    Variable("cell_area", "cell_area", "m2", "static", (0.0, 1e12), long_name="cell area"),
)

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _TABLE}

_BOUNDARY = "_boundary"


def boundary_name(name: str) -> str:
    """What a store calls a parent model's values of a state variable."""
    return name + _BOUNDARY


# No file is searched for these: they are the same quantities as the state, brought from another model.
BOUNDARIES: dict[str, Variable] = {
    boundary_name(variable.name): replace(
        variable,
        name=boundary_name(variable.name),
        role="boundary",
        partner=None if variable.partner is None else boundary_name(variable.partner),
        aliases=(),
        grid_standard_names=(),
        long_name=f"{variable.long_name} of the parent model",
    )
    for variable in _TABLE
    if variable.role == "state"
}

STORED = VARIABLES | BOUNDARIES  # all that a store may hold

# A CF standard name may speak of a component along the model's own axis; the flag says so.
_BY_STANDARD_NAME: dict[str, tuple[Variable, bool]] = {
    name: (variable, along_grid)
    for variable in _TABLE
    for names, along_grid in (
        ((variable.standard_name, *variable.aliases), False),
        (variable.grid_standard_names, True),
    )
    for name in names
}


def variable_of_standard_name(standard_name: str) -> tuple[Variable, bool] | None:
    """Canonical variable that a CF standard name stands for.

    Returns
    -------
    (variable, along_grid) or None
        ``along_grid`` is True where the name speaks of a component along the grid's own axis.
    """
    return _BY_STANDARD_NAME.get(standard_name)


def vector_pairs(names: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    """Pairs ``(eastward, northward)`` that stand complete among ``names``, in their order."""
    return [
        (name, partner)
        for name in names
        if name in VARIABLES
        and VARIABLES[name].axis == 0
        and (partner := VARIABLES[name].partner) in names
        and partner is not None
    ]
