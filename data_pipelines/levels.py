"""Levels below the sea floor of the whole region: they hold no sea, so a store leaves them out."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.plan import Plan, is_state
from data_pipelines.series import Series


def without_dry_levels(plan: Plan, asked: Any) -> tuple[Plan, list[float]]:
    """The plan without the levels on which no state variable has a value, and the depths of these, m.

    The first and the last field decide: a level that is empty in both has no cell that is valid at every step.

    Parameters
    ----------
    asked
        Depths as asked for; levels that were asked for one by one are not dropped but refused.

    Raises
    ------
    ValueError
        If no sea is on a level that was asked for by its depth.
    """
    deep = [series for series in plan.ocean if is_state(series) and series.depths is not None]
    if not deep or plan.depths is None:
        return plan, []
    sea = np.logical_or.reduce([_levels_with_sea(plan, series) for series in deep])
    if sea.all() or not sea.any():  # what is empty altogether is refused when it is read
        return plan, []
    dropped = plan.depths[~sea].tolist()
    if asked != "all":
        raise ValueError(
            f"{deep[0].where} has no sea at {_metres(dropped)} in this region; leave such levels out of --depths."
        )
    ocean = [series if series.depths is None else _only(series, sea) for series in plan.ocean]
    return replace(plan, ocean=ocean, depths=plan.depths[sea]), dropped


def on_levels(plan: Plan, depths: NDArray[np.float64], owner: str) -> Plan:
    """The plan on the levels that something else has, m.

    Raises
    ------
    ValueError
        If it lacks one of them.
    """
    held = np.zeros(0) if plan.depths is None else plan.depths
    kept = np.array([bool(np.isclose(depth, depths, rtol=0, atol=0.01).any()) for depth in held])
    if int(kept.sum()) != len(depths):
        raise ValueError(
            f"{plan.ocean[0].where} has levels at {_metres(held) if held.size else 'no depth'}, and {owner} at "
            f"{_metres(depths)}; give files on these levels."
        )
    ocean = [series if series.depths is None else _only(series, kept) for series in plan.ocean]
    return replace(plan, ocean=ocean, depths=held[kept])


def require_sea(wet: NDArray[np.bool_], plan: Plan) -> None:
    """Refuse a mask ``[z, y, x]`` that has a level without sea.

    Raises
    ------
    ValueError
        Naming the depths.
    """
    dry = ~wet.any((1, 2))
    if plan.depths is not None and dry.any():
        left = ",".join(f"{depth:g}" for depth in plan.depths[~dry])
        raise ValueError(
            f"{plan.ocean[0].where}: no cell holds every state variable at every step at {_metres(plan.depths[dry])}; "
            f"leave such levels out, as with --depths {left}."
        )


def _levels_with_sea(plan: Plan, series: Series) -> NDArray[np.bool_]:
    blocks = series.read([0, len(plan.times) - 1], plan.rows, plan.columns)
    whole = np.logical_and.reduce([np.isfinite(block) for block in blocks.values()])
    return np.asarray(plan.coarsening.mask(whole).any((0, 2, 3)))


def _only(series: Series, kept: NDArray[np.bool_]) -> Series:
    assert series.depths is not None
    chosen = np.flatnonzero(kept)
    return replace(
        series,
        depths=series.depths[kept],
        levels=tuple([levels[i] for i in chosen] for levels in series.levels),
    )


def _metres(depths: Any) -> str:
    return f"{', '.join(f'{depth:g}' for depth in depths)} m"
