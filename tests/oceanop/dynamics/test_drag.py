"""Laws of the wind's drag: published values, the equation each law stands for, and a stress along the wind."""

import numpy as np
import pytest

from oceanop.constants import GRAVITY
from oceanop.dynamics.drag import AIR_DENSITY, HIGHEST, LAWS, VON_KARMAN, Charnock, LargePond, stress

UNLIMITED = 1.0  # a coefficient no wind reaches


@pytest.mark.parametrize(
    ("speed", "large_pond", "old", "usual", "young"),
    # Thousandths, by another implementation, to the digits it gave: Charnock's parameter 0.011, 0.018 and 0.032
    [(10, 1.20, 1.29, 1.44, 1.66), (20, 1.79, 1.80, 2.07, 2.48), (25, 2.12, 2.04, 2.37, 2.89)],
)
def test_coefficients_are_those_of_the_table(
    speed: float, large_pond: float, old: float, usual: float, young: float
) -> None:
    # Half of the last digit; Large and Pond's 2.115 at 25 m/s is a tie
    near = {"abs": 0.00501}
    assert 1e3 * LargePond().coefficient(speed) == pytest.approx(large_pond, **near)
    for parameter, expected in ((0.011, old), (0.018, usual), (0.032, young)):
        assert 1e3 * Charnock(parameter, highest=UNLIMITED).coefficient(speed) == pytest.approx(
            expected, **near
        )


@pytest.mark.parametrize("parameter", [0.005, 0.018, 0.05])
def test_charnocks_roughness_and_stress_agree_with_each_other(parameter: float) -> None:
    speed = np.linspace(0.01, 60, 500)
    friction_velocity = speed * np.sqrt(Charnock(parameter, highest=UNLIMITED).coefficient(speed))
    roughness = parameter * friction_velocity**2 / GRAVITY
    # Newton's iteration ends at 1e-13
    assert np.allclose(friction_velocity * np.log(10 / roughness), VON_KARMAN * speed, rtol=1e-11)


def test_the_laws_are_a_tenth_apart_in_a_gale_on_an_old_sea_and_two_fifths_on_a_young_one() -> None:
    pond = LargePond().coefficient(20)
    assert Charnock(0.011, highest=UNLIMITED).coefficient(20) / pond == pytest.approx(1.0, abs=0.1)
    assert Charnock(0.032, highest=UNLIMITED).coefficient(20) / pond == pytest.approx(1.4, abs=0.1)


@pytest.mark.parametrize("law", [LargePond(), Charnock(), Charnock(0.03)])
def test_drag_grows_with_the_wind_up_to_its_highest_and_stays(law: LargePond | Charnock) -> None:
    coefficient = law.coefficient(np.linspace(0, 200, 4001))
    assert (np.diff(coefficient) >= 0).all()
    assert coefficient.max() == HIGHEST
    assert law.coefficient(35.0) == HIGHEST


@pytest.mark.parametrize("law", ["large-pond", "charnock", Charnock(0.03), LargePond(highest=2e-3)])
def test_the_stress_is_parallel_to_the_wind_and_turns_with_it(law: str | LargePond | Charnock) -> None:
    u, v = np.random.default_rng(0).normal(0, 12, (2, 1000))
    tauu, tauv = stress(u, v, law=law)
    size = np.hypot(tauu, tauv) * np.hypot(u, v)
    # Rounding of a difference of products
    assert np.abs(tauu * v - tauv * u).max() < 1e-15 * size.max()
    assert (tauu * u + tauv * v >= 0).all()
    turned = stress(-v, u, law=law)
    assert np.allclose(turned, (-tauv, tauu), rtol=1e-12)


def test_the_stress_is_density_times_coefficient_times_the_square_of_the_wind() -> None:
    u, v = np.array([3.0, -9.0, 12.0]), np.array([4.0, 12.0, -16.0])
    tauu, tauv = stress(u, v, air_density=1.3)
    speed = np.array([5.0, 15.0, 20.0])
    assert np.hypot(tauu, tauv) == pytest.approx(1.3 * LargePond().coefficient(speed) * speed**2)
    assert np.allclose(stress(u, v), np.array([tauu, tauv]) * AIR_DENSITY / 1.3, rtol=1e-14)


def test_calm_drags_on_nothing_and_a_missing_wind_is_a_missing_stress() -> None:
    for law in LAWS:
        tauu, tauv = stress([0.0, np.nan], [0.0, 1.0], law=law)
        assert tauu[0] == 0
        assert tauv[0] == 0
        assert np.isnan(tauu[1])
        assert np.isnan(tauv[1])


def test_shapes_broadcast() -> None:
    tauu, tauv = stress(np.ones((4, 1, 3)), np.zeros((5, 1)), law="charnock")
    assert tauu.shape == tauv.shape == (4, 5, 3)


def test_what_is_no_law_and_no_number_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no drag law 'smith'; name one of large-pond, charnock"):
        stress(1.0, 1.0, law="smith")
    with pytest.raises(ValueError, match="air_density is -1; it has to be a positive number"):
        stress(1.0, 1.0, air_density=-1)
    with pytest.raises(ValueError, match="parameter is 0; it has to be a positive number"):
        Charnock(0.0)
    with pytest.raises(ValueError, match="highest is inf"):
        LargePond(highest=np.inf)
