"""Physical constants, each with value, unit and source."""

EARTH_RADIUS = 6.371e6  # m, sphere of the volume of the Earth (Moritz, J. Geodesy 74, 2000)
EARTH_ROTATION = 7.292115e-5  # rad s-1, GRS 80 (Moritz, J. Geodesy 74, 2000)
GRAVITY = 9.81  # m s-2, rounded standard gravity, as coastal models use it
