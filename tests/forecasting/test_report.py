"""The page: whole in one file, its numbers those of the scores, and at home in a browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from forecasting import findings
from forecasting.curves import chart
from forecasting.entries import DIMS
from forecasting.findings import scores_table, summarise
from forecasting.lines import line_styles
from forecasting.report import write_report
from forecasting.scores import score_table, write_csv
from oceanop.layout import Layout
from oceanop.metrics import Sums
from tests.forecasting.synthetic import product

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
RUN = {
    "data": {"state": ["uo", "vo"], "forcing": ["u10", "v10"]},
    "model": {"name": "FNOtD", "width": 24},
    "training": {"steps": 200, "seed": 7},
}
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")


def scored(forecasts: dict[str, xr.Dataset], truth: xr.Dataset) -> xr.Dataset:
    """Scores with intervals over the four quarters of the grid."""
    layout = Layout.from_dataset(truth, ["zos", "uo", "vo"], [])
    weight = torch.from_numpy(truth["cell_area"].values * truth["mask"].values)
    rows, columns = np.indices(truth["mask"].shape)
    blocks = torch.from_numpy((rows >= 12) * 2 + (columns >= 13))

    def packed(ds: xr.Dataset) -> torch.Tensor:
        return torch.from_numpy(np.stack([ds[name].values[0] for name in layout.names()]))

    sums = {name: Sums.of(packed(ds), packed(truth), weight, blocks) for name, ds in forecasts.items()}
    scores = score_table(sums, layout, list(range(1, 7)), seed=0, blocks=4)
    return scores.assign_attrs(
        starts="1 from 2015-11-17T21:00:00 to 2015-11-17T21:00:00",
        intervals="block bootstrap over space: 4 tiles",
        mask="cells that are ocean in the truth",
        mask_share_of_ocean=1.0,
    )


@pytest.fixture(scope="module")
def forecasts() -> dict[str, xr.Dataset]:
    return {
        "FNOtD": product("FNOtD", error=0.01),
        "FNO": product("FNO", error=0.03),
        "persistence": product("persistence", error=0.02),
    }


@pytest.fixture(scope="module")
def scores(forecasts: dict[str, xr.Dataset]) -> xr.Dataset:
    return scored(forecasts, product("truth"))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, forecasts: dict[str, xr.Dataset], scores: xr.Dataset
) -> Path:
    to = tmp_path_factory.mktemp("report")
    truth = product("truth").assign_attrs(
        splits='{"train": ["2015-11-16", "2015-11-17"]}',
        sources='[{"path": "ocean.nc", "role": "source", "sha256": "abcdef0123456789", "size": 1000000}]',
    )
    cost = {"FNOtD": {"training_seconds": 300.0, "forecast_seconds": 1.5, "parameters": 123456, "threads": 2}}
    # The two longest leads are enough for a test, and every map costs a third of a second
    write_report(
        to,
        scores=scores.sel(lead_hours=["5", "6", "all"]),
        forecasts={name: ds.isel(lead_time=[4, 5]) for name, ds in forecasts.items()},
        truth=truth.isel(lead_time=[4, 5]),
        runs={"FNOtD": RUN, "FNO": RUN},
        cost=cost,
    )
    return to


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(page: str):
    sources = re.findall(r"""(?:src|href|action|poster)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)|<link[^>]+stylesheet", page)


def test_the_page_is_small_enough_to_send(folder: Path):
    # The library takes two of it, and what else there is on the page two at most
    assert (folder / "report.html").stat().st_size < 4e6


def test_maps_of_forecast_truth_and_difference_lie_beside_the_page(folder: Path):
    names = {path.name for path in (folder / "maps").iterdir()}
    assert {f"speed-0006h-{end}.png" for end in ("truth", "FNOtD", "FNOtD-difference")} <= names
    assert len(names) == 2 * (1 + 2 * 3)


def test_numbers_on_the_page_are_those_of_the_scores(page: str, scores: xr.Dataset):
    table = re.search(r'<table class="scores">.*?</table>', page, re.S)
    assert table is not None
    assert "(uo+vo)" in table.group()
    for name in ("FNOtD", "FNO", "persistence"):
        row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', table.group())
        assert row is not None
        cells = [float(value) for value in re.findall(r"<td[^>]*>([\d.]+)</td>", row.group(1))]
        expected = scores["value"].sel(
            forecaster=name, variable="uo+vo", metric="rmse", band="all", lead_hours=["5", "6", "all"]
        )
        np.testing.assert_allclose(cells, expected, rtol=5e-3)  # three figures are shown


def test_the_best_of_every_lead_is_marked_and_no_other(page: str):
    table = re.search(r'<table class="scores">.*?</table>', page, re.S)
    assert table is not None
    marked = [row for row in table.group().split("<tr") if 'class="best"' in row]
    assert len(marked) == 1
    assert "FNOtD" in marked[0]


def test_the_summary_names_winner_and_loser_and_turns_with_the_scores(scores: xr.Dataset):
    words = " ".join(summarise(scores, ["FNOtD", "FNO"], 500).sentences)
    assert "forecast best by FNOtD" in words
    assert "is that of FNO" in words
    assert "FNO beats no baseline and loses to persistence" in words
    assert "1 start, 6 leads and 500 ocean cells" in words
    swapped = scores.copy(deep=True)
    swapped["value"] = scores["value"].sel(forecaster=["FNO", "FNOtD", "persistence"]).variable
    assert "forecast best by FNO," in " ".join(summarise(swapped, ["FNOtD", "FNO"], 500).sentences)


def test_the_verdict_is_that_of_the_paired_ratio(scores: xr.Dataset):
    at = {"variable": "uo+vo", "lead_hours": "all", "forecaster": "FNOtD", "band": "all"}

    def verdict(low: float, high: float) -> str:
        given = scores.copy(deep=True)
        for name, end in (("low", low), ("high", high)):
            given[name].loc[{**at, "metric": "rmse_over_persistence"}] = end
            given[name].loc[{**at, "metric": "rmse"}] = end  # wide open, and of no weight
        return next(words for words in summarise(given, ["FNOtD"], 500).sentences if "best of them" in words)

    below = "its error is 50\u00a0% below that of the best of them, persistence"
    assert f"{below} (interval 45 to 60\u00a0%)." in verdict(0.4, 0.55)
    straddling = "(interval 60\u00a0% below to 10\u00a0% above, so that the two cannot be told apart)."
    assert f"{below} {straddling}" in verdict(0.4, 1.1)
    assert "overlap" not in verdict(0.4, 1.1)


def test_a_warning_stands_at_the_head(tmp_path: Path, forecasts: dict[str, xr.Dataset], scores: xr.Dataset):
    (tmp_path / "maps").mkdir()
    for name in ("speed-0012h-FNOtD.png", "speed-0006h-old-difference.png", "my-own.png"):
        (tmp_path / "maps" / name).write_bytes(b"")
    warned = scores.assign_attrs(
        warning="FNOtD was trained on times scored here.", left_out="2 of 9 leads, for"
    )
    path = write_report(
        tmp_path,
        scores=warned.sel(lead_hours=["6", "all"], forecaster=["FNOtD", "persistence"]),
        forecasts={"FNOtD": forecasts["FNOtD"].isel(lead_time=[5])},
        truth=product("truth").isel(lead_time=[5]),
        runs={"FNOtD": {}},
        cost={
            "FNOtD": {
                "parameters": np.int64(12345),
                "threads": np.int64(2),
                "training_seconds": np.float32(3),
            }
        },
    )
    page = path.read_text(encoding="utf-8")
    assert '<p class="warning" role="note">FNOtD was trained on times scored here.</p>' in page
    assert "2 of 9 leads" in page
    assert "12\u202f345" in page
    # Tiles of an earlier page are gone, what somebody else put there is not
    names = {file.name for file in (tmp_path / "maps").iterdir()}
    assert names == {"my-own.png"} | {
        f"speed-0006h-{end}.png" for end in ("truth", "FNOtD", "FNOtD-difference")
    }


def test_a_current_is_drawn_with_the_bias_of_each_component(page: str):
    assert "Bias of the eastward" in page
    assert "Bias of the northward" in page
    assert "Bias of the current" not in page


def test_a_model_without_skill_is_told_so(scores: xr.Dataset):
    words = " ".join(summarise(scores.sel(forecaster=["FNO", "persistence"]), ["FNO"], 500).sentences)
    assert "FNO has no skill over persistence" in words


def test_the_table_of_scores_is_the_csv(scores: xr.Dataset, tmp_path: Path):
    write_csv(scores, tmp_path / "scores.csv")
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    table = scores_table(scores)
    assert rows[0].split(",") == list(table.columns)
    assert len(rows) - 1 == len(table)
    first = rows[1].split(",")
    assert [str(v) for v in table.iloc[0, :5]] == first[:5]
    assert float(first[5]) == pytest.approx(table.loc[0, "value"], rel=1e-6)


def test_one_blown_up_forecast_leaves_the_frame_and_is_named(scores: xr.Dataset):
    table = scores_table(scores)
    part = table[(table["variable"] == "zos") & (table["metric"] == "rmse") & (table["lead_hours"] != "all")]
    part = part.astype({"lead_hours": float})
    part.loc[part["forecaster"] == "FNO", ["value", "low", "high"]] *= 1e3
    styles = line_styles(["FNOtD", "FNO", "persistence"], ["FNOtD", "FNO"])
    drawn = chart(part, styles, label="RMSE (m)", title="RMSE")
    assert drawn is not None
    assert "Beyond the frame: FNO reaches" in drawn.svg
    kept = part[part["forecaster"] != "FNO"]["high"].max()
    assert kept < drawn.data["range"][1] < 2 * kept


def test_a_forecast_without_settings_or_cost_still_has_its_page(
    tmp_path: Path, forecasts: dict[str, xr.Dataset], scores: xr.Dataset
):
    cut = {name: ds.isel(lead_time=[5]) for name, ds in forecasts.items() if name != "FNO"}
    part = scores.sel(forecaster=list(cut))
    part.attrs |= {"members": '{"FNOtD": 5}', "starts": "3 from 2015-11-17 to 2015-11-19"}
    path = write_report(
        tmp_path,
        scores=part,
        forecasts=cut,
        truth=product("truth").isel(lead_time=[5]),
        runs={"FNOtD": {}},
        cost=None,
    )
    page = path.read_text(encoding="utf-8")
    assert 'id="cost"' not in page
    assert "The first of 3 starts, 2015-11-17 21:00 UTC." in page
    assert "Forecasts with members, FNOtD (5), count by the mean of these" in page
    # Fields of one lead were kept for maps, and six leads were scored
    assert '<th scope="row">Leads</th><td>6, 1 h to 6 h</td>' in page
    assert "1 of 6 leads are shown, evenly chosen." in page


def browse(target: Path, profile: Path) -> tuple[str, list[str]]:
    """Document after its scripts ran, and the errors of its console."""
    assert BROWSER is not None
    words = (
        "headless no-sandbox disable-gpu disable-quic no-first-run hide-scrollbars disable-background-networking "
        "disable-component-update disable-sync enable-logging=stderr v=0 dump-dom window-size=1280,900 "
        "virtual-time-budget=90000"
    )
    command = [
        BROWSER,
        *(f"--{word}" for word in words.split(" ")),
        f"--user-data-dir={profile}",
        target.as_uri(),
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return outcome.stdout, [line for line in outcome.stderr.splitlines() if ":CONSOLE" in line]


@needs_browser
def test_the_console_of_the_browser_is_heard(tmp_path: Path):
    page = tmp_path / "broken.html"
    page.write_text("<!doctype html><title>x</title><script>nobody.home();</script>")
    _, errors = browse(page, tmp_path / "profile")
    assert any("nobody is not defined" in line for line in errors)


@pytest.fixture(scope="module", params=[1280, 390])
def used(
    request: pytest.FixtureRequest, page: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the probe found at the width of a desk and of a phone, and what the console said."""
    to = tmp_path_factory.mktemp("browser")
    probe = (Path(__file__).parent / "probe.js").read_text(encoding="utf-8")
    target = to / "page.html"
    probed = page.replace("</body>", f"<script>{probe}</script></body>")
    if request.param < 500:
        # A window is never narrower than 500 pixels; a frame is as narrow as a phone, and media queries hold in it too
        probed = (
            f'<!doctype html><title>-</title><iframe style="width:{request.param}px;height:844px;border:0" '
            f'srcdoc="{html.escape(probed, quote=True)}"></iframe>'
        )
    target.write_text(probed, encoding="utf-8")
    dom, errors = browse(target, to / "profile")
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.S)
    assert title is not None
    found = json.loads(html.unescape(title.group(1)))
    assert "error" not in found, found["error"]
    return {**found, "asked": request.param, "errors": errors}


@needs_browser
def test_the_page_opens_offline_without_a_word_in_the_console(used: dict[str, Any]):
    assert used["errors"] == []
    assert used["fetched"] == []
    # The program drew every plot, so that no picture stands in for it
    assert used["plots"] == [6, 6]
    assert used["pictures"] == "none"


@needs_browser
def test_nothing_runs_off_the_side_and_no_words_lie_over_others(used: dict[str, Any]):
    inner, scroll = used["width"]
    assert inner == used["asked"]
    assert scroll <= inner
    assert used["words"] > 150
    assert used["over"] == []


@needs_browser
def test_the_slider_moves_the_maps_their_words_and_the_mark_in_the_curves(used: dict[str, Any]):
    assert used["last"][:3] == ["6 h", "lead 6 h", "Current speed, valid 2015-11-18 03:00 UTC, lead 6 h"]
    assert used["first"][:3] == ["5 h", "lead 5 h", "Current speed, valid 2015-11-18 02:00 UTC, lead 5 h"]
    assert used["first"][3] != used["last"][3]
    assert used["marks"] == [5.0] * 6


@needs_browser
def test_a_map_tells_the_values_of_the_cell_pointed_at(
    used: dict[str, Any], forecasts: dict[str, xr.Dataset]
):
    told = used["told"].replace("−", "-").replace("\u00a0", " ")
    number = r"(-?[\d.]+)"
    match = re.match(
        rf"{number}°N {number}°E: truth {number} m s⁻¹, FNOtD {number} m s⁻¹, difference \+?{number}", told
    )
    assert match is not None, told
    north, east, *values = (float(text) for text in match.groups())
    truth, own = (ds.isel(init_time=0, lead_time=4) for ds in (product("truth"), forecasts["FNOtD"]))
    away = np.hypot(truth["latitude"] - north, (truth["longitude"] - east) / 2)
    row, column = np.unravel_index(int(away.values.argmin()), away.shape)
    speeds = [float(np.hypot(ds["uo"], ds["vo"])[row, column]) for ds in (truth, own)]
    # Three figures are told, and components are kept to a level of 1/4095 of their range of about 1 m s-1
    np.testing.assert_allclose(values, [*speeds, speeds[1] - speeds[0]], atol=1e-3)
    assert used["component"][0].startswith("Eastward current")


@needs_browser
def test_a_name_takes_its_line_out_of_the_plots_and_keys_tell_values(
    used: dict[str, Any], scores: xr.Dataset
):
    name, pressed, shown = used["after"]
    assert (name, pressed) == ("FNOtD", "false")
    assert used["before"] == ["FNOtD", "FNO", "persistence"]
    assert shown == ["FNO", "persistence"]
    rmse = float(
        scores["value"].sel(forecaster="FNOtD", variable="uo+vo", metric="rmse", band="all", lead_hours="5")
    )
    assert f"{rmse:.3g}" in used["hover"]
    assert used["reached"]


def test_a_model_is_judged_by_all_its_seeds_and_not_by_the_luckiest() -> None:
    values = {"FNOtD": 0.15, "FNOtD-seed0": 0.12, "FNOtD-seed1": 0.18, "persistence": 0.24}
    shape = (len(values), 1, 1, 1, 2)
    scores = xr.Dataset(
        {
            name: (DIMS, np.full(shape, 1.0) * np.reshape([*values.values()], (-1, 1, 1, 1, 1)))
            for name in ("value", "low", "high", "count")
        },
        coords={
            "forecaster": [*values],
            "variable": ["zos"],
            "metric": ["rmse"],
            "band": ["all"],
            "lead_hours": ["1", "all"],
        },
        attrs={"pooled": '{"FNOtD": ["FNOtD-seed0", "FNOtD-seed1"]}', "starts": "1 from a to b"},
    )
    said = " ".join(findings.summarise(scores, ["FNOtD", "FNOtD-seed0", "FNOtD-seed1"], 10).sentences)
    assert "forecast best by FNOtD," in said
    assert "seed" not in said
    rows = findings.score_rows(
        findings.scores_table(scores), "zos", "rmse", ["all"], [], seeds=findings.single_seeds(scores)
    )
    assert {row.name: row.best for row in rows} == {
        "FNOtD": [True],
        "FNOtD-seed0": [False],
        "FNOtD-seed1": [False],
        "persistence": [False],
    }
