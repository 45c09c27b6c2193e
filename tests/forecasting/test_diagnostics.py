"""Diagnostics give the values of plain arithmetic however blocks are cut, and nothing where there is nothing to say."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from data_pipelines import open_store, simulate
from data_pipelines.basins.settings import load_basin
from forecasting import evaluate, forecast
from forecasting.diagnostic import Block, Diagnostic, Scene
from forecasting.diagnostics import DEFAULT, DIAGNOSTICS
from forecasting.diagnostics.cells import weighted_median
from forecasting.diagnostics.past import Past
from forecasting.diagnostics.places import coast
from forecasting.scores import DIMS
from oceanop.checkpoint import Checkpoint
from oceanop.dispersion import energy_spectrum
from oceanop.grid import Grid
from oceanop.layout import Layout, cf_attributes
from oceanop.waves import WaveChannel

TRAIN, LEADS, STARTS, ROWS, COLUMNS = 504, 24, 4, 14, 18


def ocean_with_a_level() -> xr.Dataset:
    """Hourly level and current: waves of several scales, surges, and noise; a coast in the north-west."""
    hours = TRAIN + STARTS * LEADS
    generator = np.random.default_rng(0)
    t = np.arange(hours)[:, None, None]
    row, column = np.indices((ROWS, COLUMNS))[:, None]
    wet = np.ones((ROWS, COLUMNS), dtype=bool)
    wet[:5, :6] = False
    surge = sum(1.5 * np.exp(-(((t - at) / 6.0) ** 2)) for at in range(20, hours, LEADS // 2))
    ds = xr.Dataset(
        coords={
            "time": np.datetime64("2020-01-01T00", "ns") + np.arange(hours) * np.timedelta64(1, "h"),
            "latitude": 55 + 0.05 * np.arange(ROWS),
            "longitude": 15 + 0.08 * np.arange(COLUMNS),
        },
        attrs={
            "splits": '{"train": ["2020-01-01T00", "2020-01-21T23"], "test": ["2020-01-22T00", "2020-01-25T23"]}'
        },
    )
    dims = ("latitude", "longitude")
    for i, name in enumerate(("zos", "uo", "vo")):
        waves = 0.2 * np.cos(0.5 * t - 0.4 * row - i) + 0.1 * np.cos(0.9 * t + column * 0.8 - i)
        field = (
            0.1 * i
            + waves
            + (surge if name == "zos" else 0.0)
            + 0.05 * generator.standard_normal(waves.shape)
        )
        ds[name] = (("time", *dims), np.where(wet, field, np.nan).astype(np.float32), cf_attributes(name))
    ds["mask"] = (dims, wet.astype(np.int8))
    ds["cell_area"] = (dims, 2.8e7 * np.cos(np.deg2rad(ds["latitude"].values))[:, None] * np.ones(wet.shape))
    return ds


def scene_of(
    ds: xr.Dataset,
    forecasters: Sequence[str],
    *,
    starts: int = STARTS,
    leads: int = LEADS,
    first: int = TRAIN,
    members: Mapping[str, int] | None = None,
) -> Scene:
    layout = Layout.from_dataset(ds, forcing=[])
    begin = first + leads * np.arange(starts) - 1
    return Scene(
        layout=layout,
        grid=Grid.from_dataset(ds),
        wet=layout.wet(ds),
        truth=ds,
        forecasters=tuple(forecasters),
        references=(),
        init_times=ds["time"].values[begin],
        lead_hours=np.arange(1.0, leads + 1),
        time_step=3600,
        valid_steps=begin[:, None] + np.arange(1, leads + 1),
        groups=np.arange(starts),
        tiles=None,
        members=members or {},
    )


def blocks_of(
    scene: Scene, change: Mapping[str, float], size: int, members: int = 0, *, only: slice = slice(None)
) -> Iterator[Block]:
    """Forecasts that are the truth times a number; members are these and noise."""
    leads = len(scene.lead_hours)
    for start in range(len(scene.init_times))[only]:
        truth = scene.layout.pack(scene.truth.isel(time=scene.valid_steps[start]), missing=np.nan)
        noise = torch.randn((members, *truth.shape), generator=torch.Generator().manual_seed(start))
        for begin in range(0, leads, size):
            cut = slice(begin, min(begin + size, leads))
            part = truth[:, cut]
            yield Block(
                start,
                cut,
                cut.stop == leads,
                part,
                {name: factor * part for name, factor in change.items()},
                {next(iter(change)): part + 0.1 * noise[:, :, cut]} if members else {},
            )


def table_of(diagnostic: Diagnostic, scene: Scene, blocks: Iterator[Block]) -> xr.Dataset:
    tally = diagnostic.begin(scene)
    assert tally is not None
    for block in blocks:
        tally.add(block)
    tally.merge(tally.take())
    table = tally.table(seed=0, pooled={})
    assert table is not None
    return table


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ocean_with_a_level()


CHANGE = {"same": 1.0, "half": 0.5}
HERE = [name for name in DIAGNOSTICS if name not in ("waves", "ensembles", "box-spectra")]


def value(
    table: xr.Dataset, forecaster: str, variable: str, metric: str, band: str = "all", lead: str = "all"
) -> float:
    at = {"forecaster": forecaster, "variable": variable, "metric": metric, "band": band, "lead_hours": lead}
    return float(table["value"].sel(at))


@pytest.fixture(scope="module")
def tables(ds: xr.Dataset) -> dict[str, xr.Dataset]:
    scene = scene_of(ds, list(CHANGE))
    return {name: table_of(DIAGNOSTICS[name](), scene, blocks_of(scene, CHANGE, LEADS)) for name in HERE}


@pytest.mark.parametrize("name", HERE)
def test_blocks_of_any_size_in_any_number_of_processes_give_the_same(
    name: str, ds: xr.Dataset, tables: dict[str, xr.Dataset]
) -> None:
    diagnostic, scene = DIAGNOSTICS[name](), scene_of(ds, list(CHANGE))
    begun = diagnostic.begin(scene)
    assert begun is not None
    total, *workers = (pickle.loads(pickle.dumps(begun)) for _ in range(3))
    for start in range(STARTS):
        worker = workers[start % 2]
        for block in blocks_of(scene, CHANGE, 20, only=slice(start, start + 1)):
            worker.add(block)
        total.merge(pickle.loads(pickle.dumps(worker.take())))
    shared = total.table(seed=0, pooled={})
    xr.testing.assert_identical(shared, table_of(diagnostic, scene, blocks_of(scene, CHANGE, 20)))
    # Sums over other cuts have other roundings, which a useful lead or a median hardly feels
    xr.testing.assert_allclose(shared, tables[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", HERE)
def test_every_row_has_a_method_a_count_and_an_interval_around_it(
    name: str, tables: dict[str, xr.Dataset]
) -> None:
    table, methods = tables[name], DIAGNOSTICS[name]().methods
    assert set(table["metric"].values) <= {*methods}
    for metric, method in methods.items():
        assert method.version == f"{metric}-1"
        assert method.long_name
        assert method.source
    there = np.isfinite(table["value"].values)
    assert there.any()
    assert (table["count"].values[there] > 0).all()
    # Of four starts drawn again some hold no peak
    assert np.isfinite(table["low"].values).any() == (name not in ("cells", "peaks"))


def test_a_perfect_forecast_gets_full_marks_everywhere(tables: dict[str, xr.Dataset]) -> None:
    best = {
        "anomalies": {"anomaly_correlation": 1, "climatology_skill": 1, "activity_ratio": 1},
        "motion": {"kinetic_energy_ratio": 1, "mean_level_bias": 0, "mean_level_error": 0},
        "vorticity": {"enstrophy_ratio": 1},
        "thresholds": {"hit_rate": 1, "false_alarm_ratio": 0, "frequency_bias": 1, "extremal_dependence_index": 1},
        "peaks": {"peak_height_bias": 0, "peak_time_error": 0, "peak_hit_rate": 1, "peak_success_index": 1},
        "spectra": {"power_ratio": 1, "coherence": 1, "resolved_share": 1},
        "periods": {"period_power_ratio": 1, "period_coherence": 1},
        "drift": {"drift_separation": 0, "drift_rms_separation": 0, "drift_skill": 1},
        "cells": {"nash_sutcliffe": 1, "kling_gupta": 1},
    }  # fmt: skip
    for name, marks in best.items():
        held = tables[name].sel(forecaster="same")
        for metric, mark in marks.items():
            found = held["value"].sel(metric=metric).values
            assert np.isfinite(found).any(), metric
            # Roots of the roundings of 1 - 1
            np.testing.assert_allclose(found[np.isfinite(found)], mark, atol=1e-6, err_msg=metric)
    assert value(tables["anomalies"], "same", "zos", "useful_lead_correlation") == LEADS
    balance = tables["balance"]
    ours, theirs = (
        value(balance, "same", "zos+uo+vo", f"{each}geostrophic_residual") for each in ("", "true_")
    )
    assert ours == theirs > 0


def test_half_the_truth_has_a_quarter_of_its_energy_at_every_scale(tables: dict[str, xr.Dataset]) -> None:
    assert value(tables["motion"], "half", "uo+vo", "kinetic_energy_ratio") == pytest.approx(0.25, rel=1e-6)
    assert value(tables["vorticity"], "half", "uo+vo", "enstrophy_ratio", lead="7") == pytest.approx(
        0.25, rel=1e-6
    )
    for name, metric in (("spectra", "power_ratio"), ("periods", "period_power_ratio")):
        found = tables[name]["value"].sel(forecaster="half", metric=metric).values
        np.testing.assert_allclose(found[np.isfinite(found)], 0.25, rtol=1e-6)
    # One less a quarter is above the limit at all scales
    shortest = tables["spectra"]["value"].sel(
        forecaster="half", variable="zos", metric="effective_resolution"
    )
    assert np.nanmin(shortest) == np.nanmax(shortest) > 2 * 5.5


def test_scores_of_anomalies_and_events_are_plain_arithmetic(
    ds: xr.Dataset, tables: dict[str, xr.Dataset]
) -> None:
    train = ds["zos"].values[:TRAIN].astype(float)
    area = np.where(ds["mask"].values == 1, ds["cell_area"].values, 0.0)
    true = np.nan_to_num(ds["zos"].values[TRAIN:].astype(float))
    drawn = np.random.default_rng(0).choice(TRAIN, 360, replace=False)
    normal = np.nan_to_num(train[drawn].mean(0))
    own, other = 0.5 * true - normal, true - normal
    expected = (own * other * area).sum() / np.sqrt((own**2 * area).sum() * (other**2 * area).sum())
    assert value(tables["anomalies"], "half", "zos", "anomaly_correlation") == pytest.approx(
        expected, rel=1e-5
    )
    skill = 1 - ((own - other) ** 2 * area).sum() / (other**2 * area).sum()
    assert value(tables["anomalies"], "half", "zos", "climatology_skill") == pytest.approx(skill, rel=1e-5)
    level = np.nan_to_num(np.quantile(train, 0.95, axis=0))
    happened, said = true > level, 0.5 * true > level
    hit = ((happened & said) * area).sum() / (happened * area).sum()
    assert value(tables["thresholds"], "half", "zos", "hit_rate", "over 95 %") == pytest.approx(hit, rel=1e-6)
    events = (happened & (area > 0)).sum()
    assert value(tables["thresholds"], "half", "zos", "events", "over 95 %") == events


def test_what_makes_no_sense_for_a_variable_is_absent(ds: xr.Dataset, tables: dict[str, xr.Dataset]) -> None:
    table = tables["thresholds"]
    assert {*table["variable"].values} == {"zos", "uo+vo"}  # of a current its speed, and no component
    # 504 states have five above the 99 % quantile, which is enough
    assert {*table["band"].values} == {"over 90 %", "over 95 %", "over 99 %"}
    assert {*tables["peaks"]["variable"].values} == {"zos"}
    assert {*tables["motion"]["variable"].values} == {"uo+vo", "zos"}
    short = scene_of(ds, ["same"], starts=1, leads=2)
    for name in ("peaks", "periods", "waves", "ensembles"):
        assert DIAGNOSTICS[name]().begin(short) is None, name
    level_alone = scene_of(ds.drop_vars(["uo", "vo"]), ["same"])
    for name in ("drift", "balance"):
        assert DIAGNOSTICS[name]().begin(level_alone) is None
    assert (
        DIAGNOSTICS["motion"]().begin(scene_of(ds.drop_vars(["uo", "vo", "zos"]).assign(tos=ds["zos"]), []))
        is None
    )


def test_two_ponds_of_a_cell_each_and_a_single_lead_are_no_reason_to_fail(ds: xr.Dataset) -> None:
    """Where there is nothing to look at a diagnostic says so, or tells what is there; it does not break."""
    scene = scene_of(ds, list(CHANGE))
    apart = torch.zeros_like(scene.wet)
    for row, column in torch.nonzero(scene.wet.all(0))[[0, -1]].tolist():
        apart[:, row, column] = True
    ponds = replace(scene, wet=apart)
    single = scene_of(ds, list(CHANGE), leads=1)
    for name, made in DIAGNOSTICS.items():
        for small in (ponds, single):
            tally = made().begin(small)
            if tally is None:
                continue
            for block in blocks_of(small, CHANGE, len(small.lead_hours)):
                tally.add(block)
            tally.merge(tally.take())
            table = tally.table(seed=0, pooled={})
            assert table is None or not np.isinf(table["value"]).any(), name
    assert DIAGNOSTICS["spectra"]().begin(ponds) is None


def test_a_quantile_is_known_from_five_states_above_it_on(ds: xr.Dataset) -> None:
    for states, known in ((49, False), (50, True)):
        past = Past(torch.zeros(1, states, 1, 1), ds["time"].values[:states])
        assert (past.quantile(torch.arange(float(states))[:, None], 0.9) is not None) == known


def test_a_lead_without_truth_counts_nothing(ds: xr.Dataset) -> None:
    gap = ds.copy(deep=True)
    gap["zos"].values[TRAIN + 5] = np.nan
    gap["uo"].values[TRAIN + 5] = np.nan
    scene = scene_of(gap, ["half"])
    counts = {}
    for name, variable, metric in (
        ("anomalies", "zos", "climatology_skill"),
        ("spectra", "zos", "power_ratio"),
        ("drift", "uo+vo", "drift_separation"),
    ):
        table = table_of(DIAGNOSTICS[name](), scene, blocks_of(scene, {"half": 0.5}, 16))
        held = table.sel(forecaster="half", variable=variable, metric=metric)
        assert np.isfinite(held["value"]).any("band").all()
        counts[name] = held["count"].max("band").to_series()
    for name in ("anomalies", "spectra"):
        assert counts[name]["6"] * STARTS == counts[name]["5"] * (STARTS - 1)
        assert counts[name]["7"] == counts[name]["5"]
    # Where particles are after a gap nobody knows: the first start has ended there
    assert counts["drift"]["7"] < 0.8 * counts["drift"]["5"]


def test_an_ensemble_of_noise_about_the_truth_is_scored_by_its_members(ds: xr.Dataset) -> None:
    scene = scene_of(ds, ["same"], members={"same": 4})
    diagnostic = DIAGNOSTICS["ensembles"]()
    table = table_of(diagnostic, scene, blocks_of(scene, {"same": 1.0}, 16, members=4))
    # E|x| of normal numbers is sigma sqrt(2 / pi); half the mean difference of two is sigma / sqrt(pi)
    fair = 0.1 * (np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi))
    assert value(table, "same", "zos", "fair_crps") == pytest.approx(fair, rel=0.01)  # of 90 000 numbers
    assert value(table, "same", "zos", "spread") == pytest.approx(0.1, rel=0.01)
    # The mean of four is half as far from the truth as its members are
    assert value(table, "same", "zos", "spread_over_error") == pytest.approx(2 * np.sqrt(5 / 4), rel=0.01)
    # The truth lies below all four, or above, as often as four coins fall alike
    ranks = [value(table, "same", "zos", "rank_share", f"rank {i} of 4") for i in range(5)]
    np.testing.assert_allclose(ranks, np.array([1, 4, 6, 4, 1]) / 16, atol=0.005)
    assert value(table, "same", "zos", "outlier_ratio") == pytest.approx(5 / 16, rel=0.03)
    again = table_of(diagnostic, scene, blocks_of(scene, {"same": 1.0}, 11, members=4))
    xr.testing.assert_allclose(again, table)


def test_a_channel_run_lies_on_its_curves_within_one_bin_and_noise_does_not(tmp_path: Path) -> None:
    basin = load_basin("channel")
    sea = basin.sea.model_copy(update={"spacing": 2.5e4})
    ds = open_store(
        simulate(basin.model_copy(update={"sea": sea}), to=tmp_path / "channel.zarr", splits={"train": 10.0})
    ).load()
    states = [np.nan_to_num(ds[name].values[:, 1:-1].astype(float)) for name in ("zos", "ubar", "vbar")]
    spectrum = energy_spectrum(*states, depth=20.0, time_step=3600.0, spacing=2.5e4)
    channel = WaveChannel(length=1200e3, width=400e3, depth=20.0, coriolis_parameter=1.2e-4)
    curves = np.array(channel.frequencies(spectrum.wavenumber, 3))
    power = spectrum.power.sum(0)
    moving = power > 1e-3 * power.sum()
    ridge = spectrum.frequency[spectrum.power.argmax(0)]
    off = np.abs(curves - ridge).min(0)[moving] / spectrum.frequency[1]
    assert moving.sum() > 8
    assert off.max() < 1.0
    scene = scene_of(ds, ["same", "noise"], starts=2, leads=100, first=1)
    tally = DIAGNOSTICS["waves"]().begin(scene)
    assert tally is not None
    generator = torch.Generator().manual_seed(0)
    for block in blocks_of(scene, {"same": 1.0}, 30):
        noise: Tensor = torch.randn(block.truth.shape, generator=generator)
        tally.add(
            Block(block.start, block.leads, block.last, block.truth, {**block.forecasts, "noise": noise})
        )
    tally.merge(tally.take())
    table = tally.table(seed=0, pooled={})
    assert table is not None
    name = "zos+ubar+vbar"
    assert (
        value(table, "same", name, "share_on_curves")
        == value(table, "same", name, "true_share_on_curves")
        > 0.99
    )
    chance = value(table, "noise", name, "share_by_chance")
    assert value(table, "noise", name, "share_on_curves") == pytest.approx(chance, abs=0.02)
    assert chance < 0.3


def test_places_beside_land_and_the_median_by_weight() -> None:
    wet = np.ones((4, 5), dtype=bool)
    wet[1, 2] = False
    assert np.argwhere(coast(wet)).tolist() == [[0, 2], [1, 1], [1, 3], [2, 2]]
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 5.0, 1.0])) == 1.0
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])) == 2.0


def test_evaluate_tells_the_cheap_ones_and_others_where_asked(
    ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    made = forecast(checkpoint, ocean, start="2020-01-04T04", leads=6)
    scores = evaluate(made, ocean, baselines=["persistence"])
    assert {"anomaly_correlation", "kinetic_energy_ratio"} <= {*scores["metric"].values}
    assert DEFAULT == ("anomalies", "motion", "ensembles")
    assert scores.attrs["diagnostics_left_out"] == "ensembles needs a forecast with two members or more"
    with pytest.raises(
        ValueError, match=r"the diagnostic 'waves' finds nothing .* it needs a truth that is a channel"
    ):
        evaluate(made, ocean, baselines=[], diagnostics="cells,waves")
    more = evaluate(made, ocean, baselines=["persistence"], diagnostics="drift,cells")
    assert "diagnostics_left_out" not in more.attrs
    assert {"drift_skill", "nash_sutcliffe"} <= {*more["metric"].values}
    assert "anomaly_correlation" not in more["metric"].values
    assert more["value"].dims == DIMS
