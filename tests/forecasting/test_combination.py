"""Operators that forecast together: what they are refused for, what their files say, and shares fitted to new hours."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import save_store
from forecasting import (
    Combination,
    EnsembleMean,
    Fading,
    Fold,
    LearnedForecaster,
    combine,
    evaluate,
    fitted_share,
    forecast,
    load_forecaster,
    run_forecaster,
    write_forecaster,
)
from forecasting.combine import _pieces
from forecasting.forecaster_file import describe_forecaster
from forecasting.refinement import refine
from oceanop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import load_run, run_to_toml
from tests.forecasting.conftest import SPLITS, operator, sea
from tests.forecasting.test_forecast_file import SERIES, same_values
from tests.forecasting.test_refinement import coarse, driven, trained

START, LEADS = "2020-01-04T08", 7
SHARE = (0.75, 0.5, 0.25, 0.25, 0.0)


def fitted(checkpoint: Checkpoint, *names: str, **changes: Any) -> Checkpoint:
    """As if it had been trained on splits of the sea, in ten seconds on two threads."""
    splits = json.dumps({name: list(ends) for name, ends in SPLITS.items()})
    provenance = {
        "fit": list(names),
        "store_attributes": {"splits": splits},
        "training_seconds": 10.0,
        "threads": 2,
    }
    return dataclasses.replace(checkpoint, provenance=provenance, **changes)


@pytest.fixture(scope="module")
def long(ocean: xr.Dataset) -> tuple[Checkpoint, ...]:
    return tuple(fitted(operator(ocean, seed=seed), "train") for seed in (1, 2, 3))


@pytest.fixture(scope="module")
def short(ocean: xr.Dataset) -> tuple[Checkpoint, ...]:
    one_step = {"name": "FNO", "history": 2, "horizon": 1, "modes": [3, 3]}
    made = trained(ocean, **one_step)
    return (
        fitted(made, "train", sha256="b1"),
        fitted(trained(ocean, **{**one_step, "history": 5}), "train", sha256="b2"),
    )


@pytest.fixture
def folder(long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...], tmp_path: Path) -> Path:
    for role, part in (("long", long), ("short", short)):
        for number, each in enumerate(part):
            save_checkpoint(tmp_path / "work" / f"{role}-{number}" / "best", each)
    return tmp_path / "work"


def paths(folder: Path, role: str) -> list[Path]:
    return sorted(folder.glob(f"{role}-*/best"))


def values(ds: xr.Dataset, wet: np.ndarray) -> np.ndarray:
    return np.stack([ds[name].to_numpy()[0][:, wet] for name in ("uo", "vo")], 1)


def test_one_operator_is_the_checkpoint_itself(ocean: xr.Dataset, long: tuple[Checkpoint, ...]) -> None:
    alone, listed, combined = (
        forecast(given, ocean, start=START, leads=LEADS)
        for given in (long[0], [long[0]], Combination(long[:1]))
    )
    for other in (listed, combined):
        assert same_values(alone, other)
        assert {**other.attrs, "history": "", "forecast_seconds": 0} == {
            **alone.attrs,
            "history": "",
            "forecast_seconds": 0,
        }
    assert alone.attrs["model"] == "FNOtD"
    assert "members" not in alone.attrs


def test_several_checkpoints_forecast_their_mean(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], folder: Path
) -> None:
    mean = forecast(long, ocean, start=START, leads=LEADS)
    alone = [forecast(each, ocean, start=START, leads=LEADS) for each in long]
    wet = ocean["mask"].to_numpy() > 0
    expected = np.mean([values(each, wet) for each in alone], 0)
    # Means of three float32 below 1: parts in 1e7
    np.testing.assert_allclose(values(mean, wet), expected, rtol=0, atol=5e-7)
    assert mean.attrs["model"] == "FNOtD-ensemble"
    assert same_values(mean, forecast(paths(folder, "long"), ocean, start=START, leads=LEADS))


def test_the_first_leads_fade_from_the_one_mean_into_the_other(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    ds = forecast(Combination(long, short, SHARE), ocean, start=START, leads=LEADS)
    both = (EnsembleMean([LearnedForecaster(each) for each in part]) for part in (short, long))
    states = run_forecaster(Fading(*both, SHARE), ocean, long[0].layout, [80], LEADS)
    wet = ocean["mask"].to_numpy() > 0
    expected = torch.stack([state.values for _, state in states]).numpy()[:, :, wet]
    np.testing.assert_array_equal(values(ds, wet), expected)
    assert ds.attrs["model"] == "FNO-into-FNOtD-ensemble"


def test_a_forecast_file_names_every_member_and_adds_their_costs(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...], tmp_path: Path
) -> None:
    given = Combination(long, short, SHARE, ("2020-01-03T12", "2020-01-03T23"))
    ds = forecast(given, ocean, start=START, leads=LEADS, to=tmp_path / "f.nc")
    members = json.loads(ds.attrs["members"])
    assert [(each["role"], each["checkpoint_sha256"]) for each in members] == [
        *(("long", each.sha256) for each in long),
        *(("short", each.sha256) for each in short),
    ]
    assert json.loads(ds.attrs["share"]) == list(SHARE)
    assert ds.attrs["parameters"] == sum(each.parameters for each in (*long, *short))
    assert ds.attrs["training_seconds"] == 50.0
    assert ds.attrs["training_threads"] == 2
    runs = json.loads(ds.attrs["run"])
    assert [run["training"]["seed"] for run in runs["long"]] == [1, 2, 3]
    assert [run["model"]["history"] for run in runs["short"]] == [2, 5]
    # The shares have seen the validation hours, though no operator has
    assert (ds.attrs["fitted_from"], ds.attrs["fitted_to"]) == (SPLITS["train"][0], "2020-01-03T23")
    assert len(ds.attrs["checkpoint_sha256"]) == len(hashlib.sha256().hexdigest())
    other = forecast(Combination(long, short, (0.5,)), ocean, start=START, leads=1)
    assert other.attrs["checkpoint_sha256"] != ds.attrs["checkpoint_sha256"]


def test_a_cost_that_one_member_does_not_tell_is_not_added_up(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...]
) -> None:
    silent = dataclasses.replace(long[1], provenance={})
    ds = forecast([long[0], silent], ocean, start=START, leads=1)
    assert "training_seconds" not in ds.attrs
    assert "training_threads" not in ds.attrs
    assert ds.attrs["fitted_to"] == SPLITS["train"][1]


@pytest.mark.parametrize("stopped_at", [1, 8])
def test_an_interrupted_forecast_of_several_goes_on_to_the_same_bytes(
    ocean: xr.Dataset,
    long: tuple[Checkpoint, ...],
    short: tuple[Checkpoint, ...],
    tmp_path: Path,
    stopped_at: int,
) -> None:
    given, path = Combination(long, short, SHARE), tmp_path / "f.zarr"

    def stop(words: str, done: int, total: int) -> None:
        if done == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forecast(given, ocean, start=SERIES, leads=5, to=path, progress=stop)
    with pytest.raises(
        ValueError, match=r"holds another forecast \(its attribute 'checkpoint_sha256' differs\)"
    ):
        forecast(Combination(long, short, (0.5,)), ocean, start=SERIES, leads=5, to=path)
    resumed = forecast(given, ocean, start=SERIES, leads=5, to=path)
    assert same_values(resumed, forecast(given, ocean, start=SERIES, leads=5))


def test_members_of_other_grids_meet_on_the_store_that_refines_both() -> None:
    fine = sea()
    members = [trained(coarse(fine)), dataclasses.replace(trained(fine), sha256="f2")]
    ds = forecast(members, fine, start=START, leads=LEADS)
    wet = fine["mask"].to_numpy() > 0
    alone = [forecast(each, fine, start=START, leads=LEADS) for each in members]
    # Means of two float32 below 1: parts in 1e7
    expected = np.mean([values(each, wet) for each in alone], 0)
    np.testing.assert_allclose(values(ds, wet), expected, rtol=0, atol=5e-7)
    assert ds.attrs["training_grid"] == "; ".join(each.attrs["training_grid"] for each in alone)
    assert ds.attrs["refinement"] == 2


def test_mixtures_that_make_no_forecast_are_refused(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    first = long[0]
    with pytest.raises(
        ValueError,
        match=r"other channels: number 2, FNOtD, uo, vo from no forcing, and the first, FNOtD, uo, vo from u10, v10; "
        r"combine operators trained with the same data.state, data.forcing",
    ):
        Combination((first, operator(ocean, seed=4, forcing=[])))
    slow = dataclasses.replace(long[1], time_step=np.timedelta64(3, "h"))
    with pytest.raises(
        ValueError,
        match=r"other time steps: number 2, FNOtD, 3 h, and the first, FNOtD, 1 h; combine operators of",
    ):
        Combination((first, slow))
    with pytest.raises(
        ValueError, match=r"the checkpoint FNOtD \(5a1\) is given twice; it would count double"
    ):
        Combination(long, (first,), (0.5,))
    with pytest.raises(ValueError, match=r"no operator was given; give the checkpoint of one or more"):
        forecast([], ocean, start=START, leads=1)
    with pytest.raises(
        ValueError, match=r"the shares of FNO-ensemble are missing; give one or more from 1 to 0"
    ):
        Combination(long, short)
    with pytest.raises(
        ValueError, match=r"there are shares and no 'short' operators to have them; name these"
    ):
        Combination(long, (), (0.5,))


def test_edge_zones_of_other_widths_are_refused() -> None:
    fine = driven(sea())
    wide = trained(coarse(fine), zone=1)
    narrow = dataclasses.replace(trained(fine, zone=1), sha256="f2")
    with pytest.raises(
        ValueError,
        match=r"the edge zones of the operators are 2, 1 cells of the store wide, .*equally wide in metres",
    ):
        forecast([wide, narrow], fine, start=START, leads=1)
    same = dataclasses.replace(trained(fine, zone=2), sha256="f3")
    assert forecast([wide, same], fine, start=START, leads=1).attrs["edge_zone"] == 2


def test_a_file_is_read_as_it_was_written_and_forecasts_like_its_checkpoints(
    ocean: xr.Dataset, folder: Path, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    path = write_forecaster(
        folder / "both.toml",
        long=paths(folder, "long"),
        short=paths(folder, "short"),
        share=SHARE,
        share_fitted_on=SPLITS["validation"],
    )
    held = load_forecaster(path)
    assert (held.share, held.share_fitted_on) == (SHARE, SPLITS["validation"])
    expected = forecast(Combination(long, short, SHARE), ocean, start=START, leads=LEADS)
    for given in (path, str(path), held):
        assert same_values(forecast(given, ocean, start=START, leads=LEADS), expected)
    plain = write_forecaster(folder / "plain.toml", long=paths(folder, "long"))
    assert [each.run.training.seed for each in load_forecaster(plain).members] == [1, 2, 3]
    assert "short" not in plain.read_text().lower()


def test_a_path_of_a_checkpoint_is_a_forecaster_too(folder: Path) -> None:
    path = paths(folder, "long")[0]
    assert [each.sha256 for each in load_forecaster(path).members] == [load_checkpoint(path).sha256]


def test_the_folder_of_a_file_can_be_moved(
    folder: Path, ocean: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    # Written from a relative path, into a folder of its own
    path = write_forecaster("work/made/mean.toml", long=["work/long-0/best", "work/long-1/best"])
    assert '"../long-0/best"' in path.read_text()
    expected = forecast(path, ocean, start=START, leads=2)
    shutil.move(folder, folder.parent / "elsewhere")
    monkeypatch.chdir("/")
    moved = forecast(folder.parent / "elsewhere" / "made" / "mean.toml", ocean, start=START, leads=2)
    assert same_values(moved, expected)
    assert moved.attrs["checkpoint_sha256"] == expected.attrs["checkpoint_sha256"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("long = [", r"f.toml: not a TOML file: .*; a forecaster file names checkpoints, long = \['RUN/"),
        ("", r"f.toml: it has no 'long'; a forecaster file names checkpoints"),
        ("long = []", r"f.toml: 'long' is \[\]: list should have at least 1 item"),
        ("long = 3", r"f.toml: 'long' is 3: input should be a valid list"),
        (
            "long = ['long-0/best']\nmembers = 2",
            r"unknown key 'members'; a forecaster file knows long, short, share, share_fitted_on",
        ),
        (
            "long = ['long-0/best', 'long-7/best']",
            r"f.toml: .*long-7/best: no such file; expected a checkpoint",
        ),
        ("long = ['long-0/best', 'long-0/best']", r"f.toml: the checkpoint FNOtD \(.{12}\) is given twice"),
        ("long = ['long-0/best']\nshare = [0.5]", r"f.toml: there are shares and no 'short' operators"),
        (
            "long = ['long-0/best']\nshort = ['short-0/best']\nshare = [0.5, 0.6]",
            r"f.toml: the shares of FNO are 0.5, 0.6; give one or more from 1 to 0, none larger",
        ),
    ],
)
def test_a_file_that_is_no_forecaster_says_why(folder: Path, words: str, told: str) -> None:
    path = folder / "f.toml"
    path.write_text(words)
    with pytest.raises(ValueError, match=told):
        load_forecaster(path)


def test_what_is_no_forecaster_is_never_overwritten(folder: Path) -> None:
    run = folder / "run.toml"
    run.write_text(run_to_toml(load_run("norkyst-fno")))
    with pytest.raises(ValueError, match=r"unknown key 'data'; a forecaster file knows long"):
        load_forecaster(run)
    before = run.read_bytes()
    with pytest.raises(
        ValueError, match=r"run.toml exists and is no forecaster file; give another path, or delete it"
    ):
        write_forecaster(run, long=paths(folder, "long"))
    assert run.read_bytes() == before
    with pytest.raises(
        ValueError, match=r"f.nc: a forecaster is written as .toml, not '.nc'; give this suffix"
    ):
        write_forecaster(folder / "f.nc", long=paths(folder, "long"))
    path = folder / "f.toml"
    for number in (1, 2):
        write_forecaster(path, long=paths(folder, "long")[:number])
        assert len(load_forecaster(path).members) == number


def test_inspecting_a_file_tells_its_members(folder: Path, short: tuple[Checkpoint, ...]) -> None:
    path = write_forecaster(
        folder / "both.toml", long=paths(folder, "long"), short=paths(folder, "short"), share=SHARE
    )
    told = json.loads(json.dumps(describe_forecaster(path)))
    assert (told["kind"], told["model"], told["history"]) == ("forecaster", "FNO-into-FNOtD-ensemble", 5)
    assert told["share"] == list(SHARE)
    assert [each["seed"] for each in told["long"].values()] == [1, 2, 3]
    assert list(told["short"]) == ["short-0/best", "short-1/best"]
    assert told["parameters"] == sum(each.parameters for each in load_forecaster(path).members)


def test_shares_are_those_of_all_starts_whose_hours_are_in_the_split(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    calls: list[tuple[int, int]] = []
    made = combine(
        long,
        short,
        ocean,
        split="validation",
        leads=4,
        progress=lambda words, done, total: calls.append((done, total)),
    )
    # Hours 60 to 71 are held out: from 64, which five of them lead up to, to 70, which has one lead left
    parts = [EnsembleMean([LearnedForecaster(each) for each in part]) for part in (short, long)]
    fold = Fold(*parts, ocean.isel(time=slice(0, 72)), list(range(64, 71)))
    assert list(made.share) == fitted_share([fold], long[0].layout, leads=4)
    assert made.share_fitted_on == ("2020-01-03T12:00:00", "2020-01-03T23:00:00")
    assert calls == [(done, 7) for done in range(1, 8)]
    assert (made.long, made.short) == (long, short)


def test_as_many_leads_get_a_share_as_the_split_holds_where_nobody_says(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    assert len(combine(long[0], short[0], ocean).share) == 8
    with pytest.raises(
        ValueError, match=r"longest forecast of the held-out hours has 8 leads, and shares .* for 9"
    ):
        combine(long[0], short[0], ocean, leads=9)


def test_a_path_of_a_store_and_of_checkpoints_do_as_well(
    ocean: xr.Dataset,
    folder: Path,
    long: tuple[Checkpoint, ...],
    short: tuple[Checkpoint, ...],
    tmp_path: Path,
) -> None:
    store = save_store(ocean, tmp_path / "sea.zarr", splits=SPLITS)
    made = combine(paths(folder, "long"), paths(folder, "short"), store, leads=3)
    assert made.share == combine(long, short, ocean, leads=3).share


def test_operators_trained_coarse_get_their_shares_on_the_finer_store() -> None:
    fine = sea()
    long = fitted(trained(coarse(fine)), "train", sha256="a")
    short = fitted(trained(coarse(fine), history=2, horizon=1), "train", sha256="b")
    parts = [LearnedForecaster(refine(each, fine).checkpoint) for each in (short, long)]
    fold = Fold(*parts, fine.isel(time=slice(0, 72)), list(range(63, 71)))
    assert list(combine(long, short, fine, leads=3).share) == fitted_share([fold], long.layout, leads=3)


def test_a_gap_in_the_held_out_hours_is_forecast_over_by_nobody(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    broken = ocean.drop_isel(time=[66])
    made = combine(long[0], short[0], broken, leads=2)
    parts = [LearnedForecaster(short[0]), LearnedForecaster(long[0])]
    # Four states without a gap lead up to 63 and 64; after the gap, which is at 66 of the shorter axis, up to 69
    folds = [
        Fold(*parts, broken.isel(time=slice(0, 66)), [63, 64]),
        Fold(*parts, broken.isel(time=slice(0, 71)), [69]),
    ]
    assert list(made.share) == fitted_share(folds, long[0].layout, leads=2)


def test_a_long_split_is_started_from_evenly(
    long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    longer = sea(60 + 150)
    longer.attrs["splits"] = json.dumps(
        {"train": SPLITS["train"], "validation": ["2020-01-03T12", "2020-01-09T17"]}
    )
    calls: list[int] = []
    combine(long[0], short[0], longer, leads=1, progress=lambda words, done, total: calls.append(total))
    # Every second of 146, for a hundred are the most
    assert calls == [73] * 73


def test_a_split_of_many_pieces_is_started_from_no_more_often() -> None:
    hours = np.arange(3000)[np.arange(3000) % 5 > 0]  # four hours, then a gap
    times = np.datetime64("2020-01-01T00", "ns") + hours * np.timedelta64(1, "h")
    pieces = _pieces(times, np.ones(times.size, dtype=bool), 1)
    assert sum(piece.starts.size for piece in pieces) == 100
    for piece in pieces:
        assert piece.last % 4 == 3
        assert (piece.last - piece.starts < 4).all()


def test_the_first_leads_need_an_operator(ocean: xr.Dataset, long: tuple[Checkpoint, ...]) -> None:
    with pytest.raises(
        ValueError, match="no operator was given for the first leads; give one or more as 'short'"
    ):
        combine(long, [], ocean)


def test_hours_that_an_operator_has_learned_from_are_refused(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    learned = fitted(long[0], "train", "validation")
    told = (
        r"the checkpoint FNOtD \(5a1\) was fitted on 12 of the 12 times of the split 'validation', which it forecasts "
        r"too well for shares to be fitted there; give a split that it has not learned from, or operators trained with "
        r"data.fit = \[\"train\"\]"
    )
    with pytest.raises(ValueError, match=told):
        combine([learned, long[1]], short, ocean)
    with pytest.raises(ValueError, match=r"was fitted on 60 of the 60 times of the split 'train'"):
        combine(long, short, ocean, split="train")
    with pytest.raises(
        ValueError,
        match=r"the checkpoint FNO \(b1\) does not say which hours it was fitted on, so that nobody knows whether the "
        r"split 'validation' is new to it; give checkpoints that 'oceanop train' wrote",
    ):
        combine(long, dataclasses.replace(short[0], provenance={}), ocean)


def test_a_split_that_is_missing_or_too_short_is_told(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    with pytest.raises(
        ValueError, match=r"split 'test' is not in the store, which has train, validation; name one"
    ):
        combine(long, short, ocean, split="test")
    torn = ocean.isel(time=[*range(59), *range(60, 72, 3), *range(72, 96)])
    with pytest.raises(
        ValueError,
        match=r"the split 'validation' has 4 steps and nowhere 6 without a gap, which the 5 past states that",
    ):
        combine(long, short, torn)


def test_scores_on_the_hours_of_the_shares_are_warned_about(
    ocean: xr.Dataset, long: tuple[Checkpoint, ...], short: tuple[Checkpoint, ...]
) -> None:
    plain = forecast(Combination(long), ocean, start="2020-01-03T18", leads=2)
    assert "FNOtD-ensemble" not in evaluate(plain, ocean, baselines=[]).attrs.get("warning", "")
    made = combine(long, short, ocean, leads=2)
    ds = forecast(made, ocean, start="2020-01-03T18", leads=2)
    warning = evaluate(ds, ocean, baselines=[]).attrs["warning"]
    assert warning.startswith("FNO-into-FNOtD-ensemble was trained on times scored here: 2 of 2 scored times")
