"""Scores are the same however many leads are read together, whoever does the work, and each lead is read once."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from forecasting import evaluate, forecast, workers
from forecasting.blocks import MEMORY, selector, spans
from forecasting.diagnostic import Block, Diagnostic, Method, Scene
from forecasting.ratios import rows_to_dataset
from forecasting.scores import COLUMNS
from oceanop.checkpoint import Checkpoint
from oceanop.cli import words

START = "2020-01-04T04"
SERIES = "2020-01-04T00/2020-01-04T11/1h"
PLANE = 4 * 2 * 10 * 18  # bytes of a lead of the small sea, two channels


@pytest.fixture(scope="module")
def one(ocean: xr.Dataset, checkpoint: Checkpoint) -> xr.Dataset:
    return forecast(checkpoint, ocean, start=START, leads=6)


@pytest.fixture(scope="module")
def many(ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "many.zarr"
    forecast(checkpoint, ocean, start=SERIES, leads=4, to=path)
    return path


def without_history(scores: xr.Dataset) -> xr.Dataset:
    return scores.assign_attrs(history="")


def test_scores_do_not_depend_on_how_many_leads_are_read_together(
    one: xr.Dataset, many: Path, ocean: xr.Dataset
) -> None:
    names = ["persistence", "wind-regression"]
    for given, leads in ((one, 1), (many, 3)):  # resampled over cells, and over starts
        whole, parts = (
            evaluate(given, ocean, baselines=names, diagnostics=[], memory=memory)
            for memory in (MEMORY, leads * 5 * PLANE)
        )
        xr.testing.assert_identical(without_history(parts), without_history(whole))


def test_each_chunk_is_read_once(
    many: Path, ocean: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zarr.open_array(many / "uo", mode="r").chunks == (1, 4, 10, 18)
    with xr.open_zarr(many, chunks=None) as ds:
        chunks = {name: {"chunks": (1, 2, 10, 18)} for name in ("uo", "vo")}
        ds.to_zarr(tmp_path / "cut.zarr", encoding=chunks, consolidated=False)
    read: Counter[str] = Counter()
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *rest: Any, **named: Any) -> Any:
        read[key] += "/c/" in key
        return await get(self, key, *rest, **named)

    monkeypatch.setattr(LocalStore, "get", counted)
    evaluate(tmp_path / "cut.zarr", ocean, baselines=[], diagnostics=[], memory=3 * 3 * PLANE)
    fields = {key: n for key, n in read.items() if key.split("/")[0] in ("uo", "vo") and n}
    assert len(fields) == 2 * 12 * 2
    # The very first lead shows the mask before anything is scored
    assert fields.pop("uo/c/0/0/0/0") == fields.pop("vo/c/0/0/0/0") == 2
    assert {*fields.values()} == {1}


def test_a_cell_that_goes_missing_in_a_later_lead_is_scored_in_none(
    one: xr.Dataset, ocean: xr.Dataset
) -> None:
    late, never = one.copy(deep=True), one.copy(deep=True)
    late["vo"][0, 4, 6, 6] = np.inf
    never["vo"][:, :, 6, 6] = np.nan
    calls = []
    tables = [
        evaluate(
            each,
            ocean,
            baselines=["persistence"],
            diagnostics=[],
            memory=8 * PLANE,
            progress=lambda *said: calls.append(said),
        )
        for each in (late, never)
    ]
    xr.testing.assert_identical(*(without_history(table) for table in tables))
    assert [words for words, _, _ in calls] == ["looking for missing cells", "", ""]


def test_a_lead_without_any_value_is_named(one: xr.Dataset, ocean: xr.Dataset) -> None:
    broken = one.copy(deep=True)
    broken["vo"][0, 4] = np.nan
    said = (
        r"the forecast FNOtD is finite at the lead 5 h of the start 2020-01-04T04:00:00 in none of the truth's 169 "
        r"ocean cells of 'vo'; it may have diverged"
    )
    with pytest.raises(ValueError, match=said):
        evaluate(broken, ocean, baselines=[])
    blank = ocean.copy(deep=True)
    blank["uo"][72:], blank["vo"][72:] = np.nan, np.nan
    with pytest.raises(ValueError, match="the truth has no value of uo, vo at any time that is forecast"):
        evaluate(one, blank, baselines=[])


def test_memory_for_less_than_one_lead_is_refused(one: xr.Dataset, ocean: xr.Dataset) -> None:
    with pytest.raises(
        ValueError, match=r"one lead of all that is compared takes 0.00432 MB, and 0.004 MB of mem"
    ):
        evaluate(one, ocean, baselines=[], diagnostics=[], memory=4000)


@pytest.mark.parametrize(
    "hands", [pytest.param(2, marks=pytest.mark.slow, id="processes"), pytest.param("", id="cluster")]
)
def test_many_workers_get_what_one_gets(many: Path, store: Path, hands: int | str) -> None:
    alone = evaluate(many, store, baselines=["persistence"], diagnostics=[])
    if hands:
        shared = evaluate(many, store, baselines=["persistence"], diagnostics=[], workers=hands)
    else:
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster:
            shared = evaluate(
                many,
                store,
                baselines=["persistence"],
                diagnostics=[],
                memory=6 * PLANE,
                workers=cluster.scheduler_address,
            )
    xr.testing.assert_identical(without_history(shared), without_history(alone))


def test_workers_that_are_none_are_refused(
    one: xr.Dataset, ocean: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", "0.2s")
    with pytest.raises(ValueError, match="workers is '0'; give a number of processes from 1, or the address"):
        evaluate(one, ocean, baselines=[], workers=0)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        evaluate(one, ocean, baselines=[], workers="tcp://127.0.0.1:9")


def test_leads_are_cut_where_the_file_is_cut() -> None:
    assert spans(10, 100, 3, memory=1500, chunk=2) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert spans(10, 100, 3, memory=700, chunk=4) == [slice(i, i + 2) for i in range(0, 10, 2)]
    assert selector(np.array([3, 5, 7])) == slice(3, 8, 2)
    assert isinstance(selector(np.array([3, 5, 8])), np.ndarray)


def test_an_ensemble_counts_by_the_mean_of_its_members(ocean: xr.Dataset, one: xr.Dataset) -> None:
    generator = np.random.default_rng(0)
    errors = xr.DataArray(
        generator.normal(0, 0.1, (*one["uo"].shape[:2], 3, 10, 18)).astype(np.float32),
        dims=("init_time", "lead_time", "member", "latitude", "longitude"),
    )
    several, mean = one.assign_attrs(model="several"), one.assign_attrs(model="mean")
    for name in ("uo", "vo"):
        several[name] = one[name] + errors
        members = several[name].transpose("member", ...).values
        mean[name] = one[name].copy(data=(members[0] + members[1] + members[2]) / np.float32(3))
    table = evaluate([several, mean], ocean, baselines=[], diagnostics=[], memory=7 * PLANE)
    assert table.attrs["members"] == '{"several": 3}'
    assert "members_note" not in table.attrs
    ours, plain = (
        table["value"].sel(forecaster=name).drop_vars("forecaster") for name in ("several", "mean")
    )
    xr.testing.assert_identical(ours, plain)
    # A member that has failed is not left out of the mean
    several["vo"][{"lead_time": 3, "member": 1}] = np.nan
    with pytest.raises(ValueError, match=r"the forecast several is finite at the lead 4 h .* in none of"):
        evaluate(several, ocean, baselines=[], diagnostics=[])
    alone = evaluate(several.isel(member=[0]), ocean, baselines=[])
    assert alone.attrs["members_note"].startswith("several has one member and is scored as a single forecast")
    assert not {"crps", "fair_crps", "spread"} & {*alone["metric"].values.tolist()}


class Highest:
    """A diagnostic of whole starts: the highest value of each forecaster over a start's leads, and their number."""

    name, whole_starts, needs = "highest", True, "nothing"
    methods: ClassVar = {"highest": Method("highest-1", "variable")}

    def begin(self, scene: Scene) -> "HighestTally":
        return HighestTally(scene)


class HighestTally:
    def __init__(self, scene: Scene) -> None:
        self.scene, self.leads, self.held, self.found = scene, 0, {}, []
        self.total: dict[str, float] = {}

    def add(self, block: Block) -> None:
        assert block.leads.start == self.leads  # a start's blocks follow each other
        self.leads = 0 if block.last else block.leads.stop
        for name, fields in block.forecasts.items():
            top = fields[0][:, self.scene.wet[0]].max().item()
            self.held[name] = max(top, self.held.get(name, top))
        if block.last:
            assert self.scene.lead_hours.size == block.leads.stop
            self.found, self.held = [*self.found, self.held], {}

    def take(self) -> list[dict[str, float]]:
        found, self.found = self.found, []
        return found

    def merge(self, gathered: list[dict[str, float]]) -> None:
        for each in gathered:
            for name, top in each.items():
                self.total[name] = max(top, self.total.get(name, top))

    def table(self, *, seed: int, pooled: Any) -> xr.Dataset:
        rows = [
            dict(zip(COLUMNS, (name, "uo", "highest", "all", "all", top, np.nan, np.nan, 1), strict=True))
            for name, top in self.total.items()
        ]
        return rows_to_dataset(rows)


def test_a_diagnostic_sees_whole_starts_in_blocks_and_has_rows_of_its_own(
    many: Path, ocean: xr.Dataset
) -> None:
    assert isinstance(Highest(), Diagnostic)
    table = evaluate(many, ocean, baselines=["persistence"], diagnostics=[Highest()], memory=15 * PLANE)
    own = table["value"].sel(metric="highest", variable="uo", band="all", lead_hours="all")
    with xr.open_zarr(many) as ds:
        assert own.sel(forecaster="FNOtD") == ds["uo"].max()
    starts = slice("2020-01-04T00", "2020-01-04T11")
    assert own.sel(forecaster="persistence") == ocean["uo"].sel(time=starts).max()
    assert json.loads(table.attrs["methods"])["highest"] == {
        "version": "highest-1", "units": "variable", "weighting": "cell area"
    }  # fmt: skip
    plain = evaluate(many, ocean, baselines=["persistence"], diagnostics=[])
    xr.testing.assert_equal(table["value"].sel(metric=plain["metric"]), plain["value"])
    with pytest.raises(ValueError, match="there is no diagnostic 'highest'; name one of"):
        evaluate(many, ocean, diagnostics="highest")


def test_pictures_of_a_long_forecast_keep_some_of_its_leads(
    one: xr.Dataset, ocean: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    stub = ModuleType("forecasting.report")
    stub.write_report = lambda to, **what: given.update(what)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forecasting.report", stub)
    # Two leads are scored at a time; of forecast and truth, three leads fit
    evaluate(one, ocean, baselines=[], diagnostics=[], memory=2 * 3 * PLANE, to=tmp_path)
    leads = given["forecasts"]["FNOtD"]["lead_time"]
    kept = one.sel(lead_time=leads)
    np.testing.assert_array_equal(leads / np.timedelta64(1, "h"), [1, 3, 6])
    for name in ("uo", "vo"):
        np.testing.assert_array_equal(given["forecasts"]["FNOtD"][name], kept[name])
        np.testing.assert_array_equal(
            given["truth"][name].squeeze("init_time"), ocean[name].sel(time=kept["valid_time"].values[0])
        )
    assert given["truth"]["valid_time"].equals(kept["valid_time"])


def test_memory_in_words_has_a_unit() -> None:
    assert words.memory(None, 5) == 5
    assert words.memory("2GiB", 5) == 2 * 2**30
    with pytest.raises(
        ValueError, match="--memory plenty: expected a size with its unit, as in 512MB or 2GiB"
    ):
        words.memory("plenty", 5)
