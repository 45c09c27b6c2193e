"""Scores are the same however many leads are read together, whoever does the work, and each lead is read once."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from zarr.storage import LocalStore

from forecasting import evaluate, forecast, workers
from forecasting.blocks import selector, spans
from oceanop.checkpoint import Checkpoint

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
    for given in (one, many):  # resampled over cells, and over starts
        whole = evaluate(given, ocean, baselines=["persistence", "wind-regression"])
        for leads in (1, 3):
            parts = evaluate(
                given, ocean, baselines=["persistence", "wind-regression"], memory=leads * 5 * PLANE
            )
            xr.testing.assert_identical(without_history(parts), without_history(whole))


def test_each_lead_is_read_once(many: Path, ocean: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *rest: Any, **named: Any) -> Any:
        read[key] += "/c/" in key
        return await get(self, key, *rest, **named)

    monkeypatch.setattr(LocalStore, "get", counted)
    evaluate(many, ocean, baselines=[], memory=4 * PLANE)
    fields = {key: n for key, n in read.items() if key.split("/")[0] in ("uo", "vo") and n}
    assert len(fields) == 2 * 12 * 4
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
        evaluate(one, ocean, baselines=[], memory=4000)


@pytest.mark.parametrize(
    "hands", [pytest.param(2, marks=pytest.mark.slow, id="processes"), pytest.param("", id="cluster")]
)
def test_many_workers_get_what_one_gets(many: Path, store: Path, hands: int | str) -> None:
    alone = evaluate(many, store, baselines=["persistence"])
    if hands:
        shared = evaluate(many, store, baselines=["persistence"], workers=hands)
    else:
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster:
            shared = evaluate(
                many, store, baselines=["persistence"], memory=6 * PLANE, workers=cluster.scheduler_address
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
