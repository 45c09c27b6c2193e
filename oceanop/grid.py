"""Where the cells are, which of them are ocean, and how large each one is."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION

Plane = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A horizontal grid of cell centres.

    Attributes
    ----------
    latitude, longitude
        Positions of the centres, degrees north and east, ``[Y, X]`` (2-D also where the grid is regular).
    mask
        True where the cell is ocean, ``[Y, X]``.
    cell_area
        m2, ``[Y, X]``.
    dims
        Names of the two dimensions: ``("latitude", "longitude")`` on a regular grid, else ``("y", "x")``.
    coordinates
        The coordinate variables a file on this grid carries (axes, positions, ``grid_mapping``).
    grid_mapping
        Name of the CF grid mapping variable among ``coordinates``, or None.
    """

    latitude: Plane
    longitude: Plane
    mask: NDArray[np.bool_]
    cell_area: Plane
    dims: tuple[str, str] = ("y", "x")
    coordinates: xr.Dataset = field(default_factory=xr.Dataset, repr=False)
    grid_mapping: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(Y, X)``."""
        return self.mask.shape

    @property
    def coriolis_parameter(self) -> Plane:
        """``2 Omega sin(latitude)``, s-1, ``[Y, X]``."""
        return 2 * EARTH_ROTATION * np.sin(np.deg2rad(self.latitude))

    @property
    def spacing(self) -> tuple[float, float]:
        """Median distance between neighbouring centres along y and along x, m."""
        along_y = great_circle_distance(
            self.latitude[:-1], self.longitude[:-1], self.latitude[1:], self.longitude[1:]
        )
        along_x = great_circle_distance(
            self.latitude[:, :-1], self.longitude[:, :-1], self.latitude[:, 1:], self.longitude[:, 1:]
        )
        return float(np.median(along_y)), float(np.median(along_x))

    @property
    def fingerprint(self) -> str:
        """Hash of positions (to 1e-5 degree, about a metre) and mask: two equal ones are the same grid."""
        digest = hashlib.sha256()
        for positions in (self.latitude, self.longitude):
            digest.update(np.round(positions * 1e5).astype("<i8").tobytes())
        digest.update(np.packbits(self.mask).tobytes())
        digest.update(str(self.shape).encode())
        return digest.hexdigest()

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> "Grid":
        """Read the grid of a store or a forecast file.

        Raises
        ------
        ValueError
            If positions, ``mask`` or ``cell_area`` are missing.
        """
        for name in ("latitude", "longitude", "mask", "cell_area"):
            if name not in ds.variables:
                raise ValueError(
                    f"the data set has no '{name}'; an ocean store carries latitude, longitude, mask and "
                    "cell_area. Build it with 'oceanop ingest'."
                )
        latitude, longitude = ds["latitude"], ds["longitude"]
        dims = ("latitude", "longitude") if latitude.ndim == 1 else ("y", "x")
        if latitude.ndim == 1:
            latitude, longitude = xr.broadcast(latitude, longitude)
        mask = ds["mask"]
        if "depth" in mask.dims:
            mask = mask.isel(depth=0)
        names = [name for name in (*dims, "latitude", "longitude") if name in ds.variables]
        grid_mapping = next(
            (
                str(mapping)
                for variable in ds.data_vars.values()
                if (mapping := variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping")))
            ),
            None,
        )
        if grid_mapping is not None and grid_mapping in ds.variables:
            names.append(grid_mapping)
        else:
            grid_mapping = None
        kept = ds[list(dict.fromkeys(names))].reset_coords()
        kept = (
            kept.drop_vars([name for name in kept.coords if name not in names]).load().drop_attrs(deep=False)
        )
        return cls(
            latitude=latitude.transpose(*dims).to_numpy().astype(np.float64),
            longitude=longitude.transpose(*dims).to_numpy().astype(np.float64),
            mask=mask.transpose(*dims).to_numpy() > 0.5,
            cell_area=ds["cell_area"].transpose(*dims).to_numpy().astype(np.float64),
            dims=dims,
            coordinates=kept.set_coords([name for name in kept.variables if name != grid_mapping]),
            grid_mapping=grid_mapping,
        )

    def to_dataset(self) -> xr.Dataset:
        """Coordinates, ``mask`` and ``cell_area`` with their CF attributes, as every file of the project holds them."""
        extra: dict[str, Any] = {} if self.grid_mapping is None else {"grid_mapping": self.grid_mapping}
        ds = self.coordinates.copy()
        ds["mask"] = xr.Variable(
            self.dims,
            self.mask.astype(np.int8),
            {
                "standard_name": "sea_binary_mask",
                "long_name": "ocean mask",
                "units": "1",
                "flag_values": np.array([0, 1], dtype=np.int8),
                "flag_meanings": "land sea",
                **extra,
            },
        )
        ds["cell_area"] = xr.Variable(
            self.dims,
            self.cell_area,
            {"standard_name": "cell_area", "long_name": "cell area", "units": "m2", **extra},
        )
        return ds


def great_circle_distance(latitude_a: Any, longitude_a: Any, latitude_b: Any, longitude_b: Any) -> Any:
    """Distance along the sphere between points in degrees, m (haversine, exact for near points)."""
    phi_a, phi_b = np.deg2rad(latitude_a), np.deg2rad(latitude_b)
    half_chord = (
        np.sin((phi_b - phi_a) / 2) ** 2
        + np.cos(phi_a)
        * np.cos(phi_b)
        * np.sin(np.deg2rad(np.asarray(longitude_b) - np.asarray(longitude_a)) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(half_chord))
