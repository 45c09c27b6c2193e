"""What a model is fed: the right steps, zero on land, every window once, and the same order after a stop."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import data_pipelines.dataset
from data_pipelines import Batch, WindowDataset, WindowLoader, ingest, open_store
from oceanop.layout import Channel, Layout

Writer = Callable[..., Path]
SEA_LEVEL = "sea_surface_height_above_geoid"


@pytest.fixture
def broken_store(tmp_path: Path, write_file: Writer) -> Path:
    """Sea level that counts the hours, with hours 10 to 12 missing and splits that meet at hour 20."""
    hours = [hour for hour in range(30) if hour not in (10, 11, 12)]
    values = np.array(hours, dtype=np.float32)[:, None, None] / 10 + np.zeros((5, 6), np.float32)
    values[:, 0, 0] = np.nan
    source = write_file("level.nc", {"zeta": (SEA_LEVEL, "m", values)}, hours=hours)
    splits = {
        "train": ("2020-01-01T00", "2020-01-01T19"),
        "validation": ("2020-01-01T20", "2020-01-02T00"),
        "test": ("2020-01-02T01", "2020-01-02T05"),
    }
    return ingest(source, to=tmp_path / "broken.zarr", splits=splits)


def test_windows_hold_consecutive_hours_of_their_split(broken_store: Path) -> None:
    """The field is the hour itself, so a gap or a foreign split would show as a jump or a value."""
    dataset = WindowDataset(broken_store, history=3, horizon=2, split="train")
    for index in range(len(dataset)):
        window = dataset[index]
        series = torch.cat([window.history, window.target], 1)[0, :, 2, 2]
        np.testing.assert_allclose(np.diff(series), 0.1, atol=1e-6)
        assert series.max() <= 1.9 + 1e-6
        hour = (window.start - np.datetime64("2020-01-01", "ns")) / np.timedelta64(1, "h")
        assert series[2] == pytest.approx(hour / 10)
    assert len(dataset) == (10 - 4) + (7 - 4)


def test_splits_taken_together_are_one_piece(broken_store: Path) -> None:
    apart = [len(WindowDataset(broken_store, 3, 2, split=name)) for name in ("train", "validation")]
    together = len(WindowDataset(broken_store, 3, 2, split=("train", "validation")))
    assert together == sum(apart) + 4  # the windows across hour 20
    assert len(WindowDataset(broken_store, 3, 2, split=None)) == (10 - 4) + (17 - 4)


def test_a_store_too_short_for_a_window_is_refused(broken_store: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"a window needs 12 steps .* split train has at most 10 of 17 steps in one piece; ingest a longer",
    ):
        WindowDataset(broken_store, history=6, horizon=6)


def test_the_refusal_counts_the_steps_that_follow_and_knows_no_other_name_for_them(
    broken_store: Path,
) -> None:
    """Training asks for its horizon, validation for its leads: the words fit both."""
    with pytest.raises(ValueError, match=r"needs 12 steps without a gap \(history 4 and 8 following steps\)"):
        WindowDataset(broken_store, history=4, horizon=8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_missing_at_sea_is_refused_with_its_time(broken_store: Path, value: float) -> None:
    ds = open_store(broken_store).load()
    ds["zos"][5, 2, 3] = value
    with pytest.raises(
        ValueError,
        match=r"state 'zos' is missing at 2020-01-01T05:00:00 on 1 of 29 ocean cells; drop such steps",
    ):
        WindowDataset(ds, history=3, horizon=2)
    # Hour 5 dropped is a gap, which no window crosses.
    dataset = WindowDataset(ds.drop_isel(time=5), history=3, horizon=2)
    assert len(dataset) == (5 - 4) + (4 - 3) - 1 + (7 - 4)


def test_only_the_steps_of_windows_have_to_be_whole(broken_store: Path) -> None:
    """Hour 20 is of validation; hours 10 to 12 lack, so no window of 8 steps uses hour 13."""
    ds = open_store(broken_store).load()
    ds["zos"][17] = np.nan
    ds["zos"][10] = np.nan
    assert len(WindowDataset(ds, history=6, horizon=2)) == 10 - 7
    with pytest.raises(ValueError, match=r"'zos' is missing at 2020-01-01T20:00:00 on 29 of 29"):
        WindowDataset(ds, history=3, horizon=1, split="validation")


def test_a_store_too_large_for_memory_refuses_the_window_that_lacks_a_value(
    broken_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)
    ds = open_store(broken_store).load()
    ds["zos"][5, 2, 3] = np.nan
    dataset = WindowDataset(ds, history=3, horizon=2)
    assert torch.isfinite(dataset[0].target).all()
    with pytest.raises(ValueError, match=r"'zos' is missing at 2020-01-01T05:00:00"):
        dataset[1]


def test_forcing_may_lack_land_but_not_the_sea(coarse_store: Path) -> None:
    ds = open_store(coarse_store).isel(time=slice(0, 12)).load()
    land = ds["mask"] == 0
    dry = ds.assign(u10=ds["u10"].where(~land))
    window = WindowDataset(dry, history=3, horizon=2, split=None)[0]
    assert (window.forcing[0][:, land.to_numpy()] == 0).all()
    ds["u10"][4] = np.nan
    with pytest.raises(ValueError, match=r"forcing 'u10' is missing at 2015-11-16T04:00:00 on 2440 of 2440"):
        WindowDataset(ds, history=3, horizon=2, split=None)


def test_each_level_is_asked_for_its_own_sea(tmp_path: Path, write_file: Writer, level: np.ndarray) -> None:
    deep = np.stack([level, np.where(np.arange(8) < 4, np.nan, level)], 1)
    file = write_file("t.nc", {"temp": ("sea_water_potential_temperature", "degC", deep)}, depths=[0, 50])
    ds = open_store(ingest(file, to=tmp_path / "s.zarr", depths="all")).load()
    assert len(WindowDataset(ds, 2, 2)) == 8 - 3
    ds["thetao"][1, 1, 5, 7] = np.nan
    with pytest.raises(ValueError, match=r"'thetao at 50 m' is missing at 2020-01-01T01:00:00 on 1 of 24"):
        WindowDataset(ds, 2, 2)


def test_a_single_step_is_too_short_whatever_the_split(
    tmp_path: Path, write_file: Writer, level: np.ndarray
) -> None:
    store = ingest(write_file("one.nc", {"zos": (SEA_LEVEL, "m", level[:1])}), to=tmp_path / "one.zarr")
    for split in ("train", "validation", ("train", "validation"), None):
        with pytest.raises(
            ValueError, match=r"one\.zarr: a window needs 12 steps .* the store has at most 1 of 1 steps"
        ):
            WindowDataset(store, history=6, horizon=6, split=split)
    with pytest.raises(ValueError, match=r"one\.zarr: a window needs 2 steps"):
        WindowDataset(store, history=1, horizon=1)


def test_a_split_that_is_not_there_names_the_store(broken_store: Path) -> None:
    with pytest.raises(
        ValueError, match=r"broken\.zarr: split 'summer' is not in the store, which has train, validation"
    ):
        WindowDataset(broken_store, 2, 2, split="summer")


def test_land_is_zero_and_nothing_is_missing(coarse_store: Path) -> None:
    dataset = WindowDataset(coarse_store, history=2, horizon=3)
    window = dataset[4]
    land = torch.from_numpy(~dataset.grid.mask)
    for part in (window.history, window.target):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()
        assert (part[..., land] == 0).all()
    assert torch.isfinite(window.forcing).all()
    assert window.history.shape == (2, 2, 50, 75)
    assert window.forcing.shape == (2, 5, 50, 75)
    assert window.target.shape == (2, 3, 50, 75)


def test_windows_are_the_stores_own_fields(coarse_store: Path) -> None:
    ds = open_store(coarse_store)
    dataset = WindowDataset(ds, history=3, horizon=2, split=None)
    window = dataset[7]
    wet = dataset.grid.mask
    assert window.start == ds["time"].values[9]
    np.testing.assert_array_equal(window.history[1][:, wet], ds["vo"].to_numpy()[7:10][:, wet])
    np.testing.assert_array_equal(window.forcing[0], ds["u10"].to_numpy()[7:12])
    np.testing.assert_array_equal(window.target[0][:, wet], ds["uo"].to_numpy()[10:12][:, wet])


def test_a_store_read_window_by_window_gives_the_same(
    coarse_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = WindowDataset(coarse_store, 4, 4)
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)
    read = WindowDataset(coarse_store, 4, 4)
    for index in (0, 5, len(held) - 1):
        for name in ("history", "forcing", "target"):
            torch.testing.assert_close(getattr(held[index], name), getattr(read[index], name), rtol=0, atol=0)
        assert held[index].start == read[index].start


def test_the_layout_chooses_and_orders_the_channels(coarse_store: Path) -> None:
    layout = Layout(state=(Channel("vo"), Channel("uo")), forcing=(Channel("v10"),))
    chosen, plain = WindowDataset(coarse_store, 2, 2, layout=layout)[0], WindowDataset(coarse_store, 2, 2)[0]
    torch.testing.assert_close(chosen.history, plain.history.flip(0))
    torch.testing.assert_close(chosen.forcing, plain.forcing[1:])


@pytest.fixture(scope="module")
def dataset(coarse_store: Path) -> WindowDataset:
    return WindowDataset(coarse_store, history=3, horizon=2, split="train")  # 47 hours, 43 windows


def starts(batches: list[Batch]) -> list[np.datetime64]:
    return [start for batch in batches for start in batch.start]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_every_window_once_per_epoch_over_the_ranks(dataset: WindowDataset, world_size: int) -> None:
    loaders = [WindowLoader(dataset, 4, 7, rank, world_size, drop_last=False) for rank in range(world_size)]
    seen = [starts(list(loader)) for loader in loaders]
    share = len(dataset) // world_size
    assert [len(part) for part in seen] == [share] * world_size
    everything = [start for part in seen for start in part]
    assert len(set(everything)) == len(everything) == share * world_size
    assert len({len(loader) for loader in loaders}) == 1


def test_epochs_differ_and_a_seed_repeats(dataset: WindowDataset) -> None:
    one, other, third = (WindowLoader(dataset, 4, seed) for seed in (0, 0, 1))
    first, second = starts(list(one)), starts(list(one))
    assert first != second
    assert starts(list(other)) == first
    assert starts(list(third)) != first


def test_what_an_epoch_leaves_out_the_next_ones_bring(dataset: WindowDataset) -> None:
    loader = WindowLoader(dataset, 8, 0)  # 43 windows: 3 are left out each time
    seen = {start for _ in range(8) for start in starts(list(loader))}
    assert len(seen) == len(dataset)


@pytest.mark.parametrize("stop", [0, 1, 7, 10, 13])
def test_a_stopped_loader_goes_on_exactly_where_it_was(dataset: WindowDataset, stop: int) -> None:
    """Also over the end of an epoch (10 batches)."""

    def endless(loader: WindowLoader) -> Iterator[Batch]:
        while True:
            yield from loader

    undisturbed = WindowLoader(dataset, 4, 3, rank=0, world_size=1)
    expected = [batch.start.tolist() for batch in islice(endless(undisturbed), 25)]
    stopped = WindowLoader(dataset, 4, 3)
    before = [batch.start.tolist() for batch in islice(endless(stopped), stop)]
    resumed = WindowLoader(dataset, 4, 3)
    resumed.load_state_dict(stopped.state_dict())
    after = [batch.start.tolist() for batch in islice(endless(resumed), 25 - stop)]
    assert before + after == expected


def test_a_state_of_other_settings_is_refused(dataset: WindowDataset) -> None:
    state = WindowLoader(dataset, 4, 3).state_dict()
    with pytest.raises(ValueError, match="saved loader has batch size 4, this one 2"):
        WindowLoader(dataset, 2, 3).load_state_dict(state)


def test_batches_are_stacked_windows(dataset: WindowDataset) -> None:
    loader = WindowLoader(dataset, 4, 0)
    batch, chosen = next(iter(loader)), loader.order(0)[:4]
    assert batch.history.shape == (4, 2, 3, 50, 75)
    for row, index in enumerate(chosen):
        torch.testing.assert_close(batch.target[row], dataset[int(index)].target)
        assert batch.start[row] == dataset[int(index)].start


def test_more_than_there_is_cannot_be_batched(dataset: WindowDataset) -> None:
    with pytest.raises(
        ValueError, match="hold 43 windows, 21 for each of 2 ranks, and a batch needs 30; choose a smaller"
    ):
        WindowLoader(dataset, 30, 0, rank=0, world_size=2)
    assert len(WindowLoader(dataset, 30, 0, rank=0, world_size=2, drop_last=False)) == 1
    with pytest.raises(ValueError, match="rank 2 is not one of 2 ranks"):
        WindowLoader(dataset, 4, 0, rank=2, world_size=2)


def test_without_shuffling_time_runs_forward(dataset: WindowDataset) -> None:
    seen = starts(list(WindowLoader(dataset, 4, 0, shuffle=False, drop_last=False)))
    assert seen == sorted(seen)
    assert len(seen) == len(dataset)


def test_fields_are_kept_of_the_steps_that_windows_use(
    coarse_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 67 hours 47 are for training, and what they take is what counts."""
    whole = WindowDataset(coarse_store, 3, 2, None)
    used = 4 * 4 * 47 * 50 * 75
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", used)
    train = WindowDataset(coarse_store, 3, 2, "train")
    assert train.in_memory
    assert train[0].history.untyped_storage().nbytes() + train[0].forcing.untyped_storage().nbytes() == used
    test = WindowDataset(coarse_store, 3, 2, "test")
    for dataset in (train, test):
        place = {start: number for number, start in enumerate(whole.starts)}
        for number, start in enumerate(dataset.starts):
            for name in ("history", "forcing", "target"):
                assert torch.equal(getattr(dataset[number], name), getattr(whole[place[start]], name))
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", used - 1)
    assert not WindowDataset(coarse_store, 3, 2, "train").in_memory


def test_longer_windows_share_the_fields_of_shorter_ones(coarse_store: Path) -> None:
    short = WindowDataset(coarse_store, 3, 2, "train")
    longer, alone = short.extended(7), WindowDataset(coarse_store, 3, 7, "train")
    assert (len(short), len(longer), longer.horizon) == (43, 38, 7)
    np.testing.assert_array_equal(longer.starts, alone.starts)
    assert torch.equal(longer[37].target, alone[37].target)
    assert longer[5].history.data_ptr() == short[5].history.data_ptr()
    with pytest.raises(
        ValueError, match="horizon is 2 steps and the data set, of 7, holds only what these need"
    ):
        longer.extended(2)
    with pytest.raises(ValueError, match="and split train has at most 47 of 47 steps in one piece"):
        short.extended(45)
