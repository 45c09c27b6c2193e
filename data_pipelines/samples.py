"""The real data that ships with the package: a Norwegian coastal current and the wind over it."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """Paths of the shipped files.

    Attributes
    ----------
    ocean
        NorKyst-800 surface current, 67 hours, 201 x 301 cells of 800 m.
    wind
        AROME-MetCoOp wind at 10 m of the same hours, 120 x 81 cells of 2.5 km.
    """

    ocean: Path
    wind: Path


def sample_paths() -> Sample:
    """Where the shipped sample files lie on this machine."""
    folder = Path(str(files("data_pipelines") / "sample_data"))
    return Sample(folder / "norkyst800_surface_20151116.nc", folder / "arome_wind_20151116.nc")
