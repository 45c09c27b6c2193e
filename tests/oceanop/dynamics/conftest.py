"""Basins and weather to test the numerical ocean with."""

import numpy as np
import pytest

from data_pipelines.basins.sea_floor import baltic
from oceanop.dynamics.forcing import AirSeries
from oceanop.dynamics.geometry import CGrid

HOUR = 3600.0


@pytest.fixture(scope="session")
def baltic_grid() -> CGrid:
    """The Baltic on 10' x 15', closed."""
    floor = baltic(2, 3)
    return CGrid.sphere(floor["latitude"], floor["longitude"], floor["deptho"])


@pytest.fixture(scope="session")
def fine_baltic_grid() -> CGrid:
    """The Baltic on 5' x 10', closed."""
    floor = baltic(1, 2)
    return CGrid.sphere(floor["latitude"], floor["longitude"], floor["deptho"])


@pytest.fixture
def rough_basin() -> CGrid:
    """A small f-plane basin whose depth, coast and island follow no rule; its far sides are open water."""
    rng = np.random.default_rng(4)
    depth = 20 + 60 * rng.random((9, 13))
    depth[rng.random((9, 13)) < 0.12] = 0.0
    depth[3:5, 5:7] = 0.0
    depth[:, [0, -1]] = 50.0
    return CGrid.plane(depth, dx=8e3, dy=6e3, coriolis_parameter=1.2e-4)


def storm(shape: tuple[int, int], hours: int, *, members: int = 0, seed: int = 0) -> AirSeries:
    """A smooth wind and pressure that turn and travel over the basin, for so many hours."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 3, shape[0]), np.linspace(0, 3, shape[1]), indexing="ij")
    t = np.arange(hours + 1.0)[:, None, None]
    if members:
        t = t[:, None] + rng.uniform(0, 20, (members, 1, 1))
    return AirSeries(
        tauu=0.3 * np.sin(t / 7 + y),
        tauv=0.2 * np.cos(t / 9 + x),
        msl=101325 + 2000 * np.sin(t / 11 + y - x),
    )
