"""Ratios of sums pool, resample and tell as their parts do."""

from pathlib import Path

import numpy as np
import pytest

from forecasting.ratios import CEILING, Collector, StartSums, ratio_rows, rows_to_dataset, write_rows

RMSE = ("rmse", "zos", "all")
STARTS, LEADS = 12, 4


def sums_of(seed: int, scale: float = 1.0, starts: int = STARTS) -> StartSums:
    collector = Collector(starts, [1.0, 2.0, 3.0, 6.0])
    generator = np.random.default_rng(seed)
    for start in range(starts):
        for lead in range(1, LEADS + 1):
            collector.add(RMSE, start, lead, scale**2 * 5.0 * generator.chisquare(4), 5.0)
            collector.add(("spectrum_ratio", "zos", "long"), start, lead, np.exp(scale), 1.0)
            collector.add(("spectrum_ratio", "zos", "short"), start, lead, 1.0, np.exp(scale))
    return collector.done()


def picked(rows: list[dict], forecaster: str, metric: str) -> dict[str, dict]:
    return {
        row["lead_hours"]: row for row in rows if row["forecaster"] == forecaster and row["metric"] == metric
    }


def test_a_score_is_the_ratio_of_all_sums_and_its_interval_holds_it() -> None:
    one, two = sums_of(0), sums_of(1)
    found = picked(ratio_rows({"a": [one, two]}, np.arange(STARTS)), "a", "rmse")
    assert list(found) == ["1", "2", "3", "6", "all"]
    above, below = one.sums[RMSE] + two.sums[RMSE]
    assert found["3"]["value"] == pytest.approx(np.sqrt(above[:, 2].sum() / below[:, 2].sum()))
    assert found["all"]["value"] == pytest.approx(np.sqrt(above.sum() / below.sum()))
    assert found["3"]["count"] == 2 * STARTS
    assert found["all"]["count"] == 2 * STARTS * LEADS
    for row in found.values():
        assert row["low"] < row["value"] < row["high"]


def test_forecasters_are_compared_resample_by_resample() -> None:
    rows = ratio_rows({"a": [sums_of(0)], "b": [sums_of(0, scale=2.0)]}, np.arange(STARTS), over=["a"])
    for row in picked(rows, "b", "rmse_over_a").values():
        # twice the error in every forecast: the ratio is sure, however unsure both errors are
        assert row["low"] == pytest.approx(2)
        assert row["high"] == pytest.approx(2)
    assert not picked(rows, "a", "rmse_over_a")


def test_trainings_of_two_forecasters_are_no_pairs() -> None:
    trainings = [sums_of(0, scale=scale) for scale in (1.0, 2.0, 3.0)]
    rows = ratio_rows({"a": trainings, "b": trainings}, np.arange(STARTS), over=["a"])
    alone = ratio_rows({"b": trainings}, np.arange(STARTS))
    assert picked(rows, "b", "rmse") == picked(alone, "b", "rmse")
    for row in picked(rows, "b", "rmse_over_a").values():
        assert row["value"] == 1
        # Errors are 1, 2 and 3: of two that are drawn for each, the worst against the best are a factor of 3 apart
        assert row["low"] < 1 / 2
        assert row["high"] > 2


def test_the_spectrum_s_error_is_the_root_mean_square_of_logarithms() -> None:
    rows = ratio_rows({"a": [sums_of(0, scale=0.3)]}, np.arange(STARTS))
    for row in picked(rows, "a", "log_spectrum_error").values():
        # one band too strong, the other too weak, both by exp(0.3)
        assert row["value"] == pytest.approx(0.3 / np.log(10))


def test_a_single_block_has_no_interval(tmp_path: Path) -> None:
    rows = ratio_rows({"a": [sums_of(0)]}, np.zeros(STARTS, dtype=np.int64))
    assert all(np.isnan(row["low"]) for row in rows)
    write_rows(rows, tmp_path / "scores.csv")
    head, first, *_ = (tmp_path / "scores.csv").read_text().splitlines()
    assert head == "forecaster,variable,metric,band,lead_hours,value,low,high,count"
    assert first.startswith("a,zos,rmse,all,1,")
    assert first.endswith(f",,,{STARTS}")


def test_a_forecast_that_left_the_finite_numbers_is_last_and_nothing_else_suffers() -> None:
    collector = Collector(STARTS, [1.0, 2.0])
    for start in range(STARTS):
        collector.add(RMSE, start, 1, 1.0, 1.0)
        collector.add(RMSE, start, 2, np.nan if start else np.inf, 1.0)
    found = picked(ratio_rows({"a": [collector.done()]}, np.arange(STARTS)), "a", "rmse")
    assert found["1"]["value"] == 1
    assert found["2"]["value"] == pytest.approx(np.sqrt(CEILING))
    assert np.isfinite([found["2"]["low"], found["2"]["high"]]).all()


def test_what_was_not_counted_has_no_row() -> None:
    collector = Collector(STARTS, [1.0, 2.0])
    for start in range(STARTS):
        collector.add(RMSE, start, 2, 4.0, 1.0)
    found = picked(ratio_rows({"a": [collector.done()]}, np.arange(STARTS)), "a", "rmse")
    assert list(found) == ["2", "all"]
    assert found["all"]["count"] == STARTS


def test_stretches_of_leads_and_growth_are_sums_over_them() -> None:
    own = sums_of(0)
    (part,) = own.windows(RMSE, [(2, 4)])
    assert list(part.sums) == [("rmse", "zos", "2-6 h")]
    np.testing.assert_allclose(part.sums["rmse", "zos", "2-6 h"][..., 0], own.sums[RMSE][..., 1:].sum(-1))
    at_gauges = StartSums({("rmse", "zos", "gauges"): own.sums[RMSE]}, own.hours)
    (part,) = at_gauges.windows(("rmse", "zos", "gauges"), [(2, 4)])
    assert list(part.sums) == [("rmse", "zos", "gauges 2-6 h")]
    for side in (0, 1):
        grown = own.growth(RMSE, (1, 2), (3, 4), metric="growth", side=side)
        late, early = grown.sums["growth", "zos", "all"][..., 0]
        np.testing.assert_allclose(late, own.sums[RMSE][side, :, 2:].sum(-1))
        np.testing.assert_allclose(early, own.sums[RMSE][side, :, :2].sum(-1))
        assert grown.hours.tolist() == [6.0]


def test_what_left_the_finite_numbers_early_has_grown() -> None:
    collector = Collector(STARTS, [1.0, 2.0])
    for start in range(STARTS):
        for lead in (1, 2):
            collector.add(RMSE, start, lead, 3.0 if start else np.nan, 2.0)
    grown = collector.done().growth(RMSE, (1, 1), (2, 2), metric="growth")
    found = picked(ratio_rows({"a": [grown]}, np.arange(STARTS)), "a", "growth")
    assert found["2"]["value"] == pytest.approx(CEILING / (3.0 * (STARTS - 1) + 2.0))


def test_some_leads_alone_make_the_score_of_all_of_them() -> None:
    own = sums_of(0)
    found = picked(ratio_rows({"a": [own.at([1, 6, 99])]}, np.arange(STARTS)), "a", "rmse")
    assert list(found) == ["1", "6", "all"]
    above, below = own.sums[RMSE][..., [0, 3]].sum((1, 2))
    assert found["all"]["value"] == pytest.approx(np.sqrt(above / below))


def test_sums_come_back_from_their_file(tmp_path: Path) -> None:
    own = sums_of(3)
    own.save(tmp_path / "sums.npz")
    back = StartSums.load(tmp_path / "sums.npz")
    assert back.hours.tolist() == own.hours.tolist()
    assert {key: values.tolist() for key, values in back.sums.items()} == {
        key: values.tolist() for key, values in own.sums.items()
    }


def test_the_data_set_holds_every_row_and_nothing_more() -> None:
    rows = ratio_rows({"a": [sums_of(0)], "b": [sums_of(1)]}, np.arange(STARTS), over=["a"])
    ds = rows_to_dataset(rows)
    assert ds["lead_hours"].values.tolist() == ["1", "2", "3", "6", "all"]
    assert int(ds["value"].notnull().sum()) == len(rows)
    for row in rows:
        held = ds.sel({dim: row[dim] for dim in ds["value"].dims})
        assert float(held["value"]) == row["value"]
        assert int(held["count"]) == row["count"]
