"""What the page is made of: packed numbers, pixels, lines, verdicts, and sections that follow the rows."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting import atlas, verdicts
from forecasting.curves import chart
from forecasting.findings import chosen_hours, score_rows
from forecasting.lines import COLOURS, Line, line_styles
from forecasting.packing import Scale, packed, script_json, unpacked
from forecasting.projection import cells_of
from forecasting.raster import LAND, OUTSIDE, raster_of
from forecasting.sections import Naming, band_axis, metric_sections
from tests.forecasting.synthetic import COLUMNS, LEADS, ROWS, product

STYLE = Path(atlas.__file__).parent / "templates" / "report.css"


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_packed_numbers_come_back_as_they_were(dtype: type[np.unsignedinteger]) -> None:
    numbers = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, 257, dtype=dtype)
    np.testing.assert_array_equal(unpacked(packed(numbers), dtype), numbers)


def test_levels_are_half_a_step_from_the_value_and_say_where_they_were_cut() -> None:
    scale = Scale.over(-1.0, 3.0, least=-0.5, most=9.0)
    assert (scale.low, scale.cut_low, scale.cut_high) == (-0.5, False, True)
    values = np.array([-0.5, 0.1234, 3.0, 9.0, np.nan])
    back = scale.values(scale.levels(values))
    assert np.abs(back[:3] - values[:3]).max() <= scale.step / 2 * (1 + 1e-9)
    assert back[3] == pytest.approx(3.0)
    assert np.isnan(back[4])


def test_no_name_can_end_the_script_that_holds_it() -> None:
    name = "</script><script>alert(1)//\u2028"
    text = script_json({"name": name})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": name}


@pytest.mark.parametrize("regular", [True, False])
def test_the_pixel_at_a_cell_s_centre_shows_that_cell(regular: bool) -> None:
    import cartopy.crs as ccrs

    cells = cells_of(product(regular=regular))
    raster = raster_of(cells)
    height, width = raster.cells.shape
    left, right, bottom, top = cells.extent
    points = cells.crs.transform_points(ccrs.PlateCarree(), cells.longitude, cells.latitude)
    columns = ((points[..., 0] - left) / (right - left) * width).astype(int)
    rows = ((top - points[..., 1]) / (top - bottom) * height).astype(int)
    expected = np.where(cells.wet, np.cumsum(cells.wet).reshape(cells.wet.shape) + 1, LAND)
    np.testing.assert_array_equal(raster.cells[rows, columns], expected)
    # A grid that lies askew on the paper leaves the corners of the paper free
    corners = raster.cells[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == OUTSIDE).all() == (not regular)


def test_the_fields_of_the_page_are_those_of_the_forecast() -> None:
    own, truth = product("FNOtD", error=0.05), product("truth")
    cells = cells_of(truth)
    found = atlas.atlas_of({"FNOtD": own}, truth, ["FNOtD"], cells)
    assert found.notes == []
    more = atlas.atlas_of({}, truth, [], cells, scored=1000)
    assert more.notes == [f"{LEADS} of 1000 leads are shown, evenly chosen."]
    assert [lead["hours"] for lead in found.data["leads"]] == list(range(1, LEADS + 1))
    for name in ("uo", "zos"):
        scale = Scale(found.data["scales"][name]["low"], found.data["scales"][name]["step"])
        for who, ds in (("FNOtD", own), ("truth", truth)):
            values = scale.values(unpacked(found.data["fields"][f"{name}/{who}"][3], np.uint16))
            expected = ds[name].values[0, 3][cells.wet]
            # Half a step, and the rounding of single precision
            np.testing.assert_allclose(values, expected, atol=0.5 * scale.step * 1.001)


def test_a_page_too_large_has_fewer_leads_then_fewer_cells_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forecasting.raster.PIXELS", 100)
    truth, cells = product("truth"), cells_of(product("truth"))
    whole = atlas.atlas_of({}, truth, [], cells)
    bytes_a_lead = sum(len(texts[2]) for texts in whole.data["fields"].values())
    monkeypatch.setattr(atlas, "FEW_LEADS", 2)
    monkeypatch.setattr(atlas, "BYTES", int(3.5 * bytes_a_lead))
    fewer = atlas.atlas_of({}, truth, [], cells)
    assert fewer.notes == [f"3 of {LEADS} leads are shown, evenly chosen."]
    assert [lead["hours"] for lead in fewer.data["leads"]] == [1, 4, 6]
    monkeypatch.setattr(atlas, "BYTES", int(1.5 * bytes_a_lead))
    thinned = atlas.atlas_of({}, truth, [], cells)
    assert thinned.notes[-1].startswith("Of the cells every second is shown")
    held = unpacked(thinned.data["fields"]["zos/truth"][0], np.uint16).size
    assert held == cells.wet[1::2, 1::2].sum() < ROWS * COLUMNS / 4


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_words_and_lines_stand_out_from_the_page_by_day_and_night() -> None:
    themes = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.S)[:2]
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w+)", theme))
        colours = {k: "#" + "".join(c * 2 for c in v[1:]) if len(v) == 4 else v for k, v in colours.items()}
        for ground in ("paper", "tint"):
            for words in ("ink", "muted", "accent", "good", "bad"):
                assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)  # AA, text
        for line in COLOURS:
            assert contrast(line, colours["paper"]) >= 3, line  # AA, parts of a picture
    assert len(themes) == 2


def test_no_two_of_many_lines_have_the_same_dashes_and_marker() -> None:
    models, baselines = [f"model-{i}" for i in range(10)], [f"baseline-{i}" for i in range(12)]
    styles = line_styles([*models, *baselines], models)
    for one, other in combinations(styles.values(), 2):
        assert (one.dashes, one.marker) != (other.dashes, other.marker)
    assert all(styles[name].width < styles["model-0"].width for name in baselines)


@pytest.mark.parametrize(
    ("ratio", "kind"),
    [
        ((0.8, 0.7, 0.9), "better"),
        ((1.2, 1.1, 1.3), "worse"),
        ((0.9, 0.7, 1.1), "undecided"),
        ((0.9, np.nan, np.nan), "better"),
    ],
)
def test_a_verdict_is_that_of_the_whole_interval(ratio: tuple[float, float, float], kind: str) -> None:
    assert verdicts.kind_of(*ratio) == kind


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ("bbbb", "better at all leads"),
        ("bbuw", "better from 1 to 2\u00a0h, undecided at 3\u00a0h, worse at 4\u00a0h"),
        ("bwbwbw", "better at 3, worse at 3 of 6 leads"),
    ],
)
def test_a_verdict_is_told_by_lead(kinds: str, words: str) -> None:
    names = {"b": verdicts.BETTER, "u": verdicts.EVEN, "w": verdicts.WORSE}
    assert verdicts.in_words(list(range(1, len(kinds) + 1)), [names[kind] for kind in kinds]) == words


def test_best_is_what_a_reader_sees_as_the_smallest() -> None:
    """0.1035 and 0.1034 are 0.104 and 0.103; 0.1031 is 0.103, too."""
    values = {"a": 0.1035001, "b": 0.1034, "c": 0.1031}
    table = pd.DataFrame(
        [
            {
                "forecaster": name,
                "variable": "zos",
                "metric": "rmse",
                "band": "all",
                "lead_hours": "1",
                "value": value,
            }
            for name, value in values.items()
        ]
    )
    found = score_rows(table, "zos", "rmse", ["1"], [])
    assert [(row.cells[0], row.best[0]) for row in found] == [
        ("0.104", False),
        ("0.103", True),
        ("0.103", True),
    ]


def test_leads_of_a_long_forecast_are_chosen_up_to_its_end() -> None:
    short = pd.DataFrame({"lead_hours": [*(str(hour) for hour in range(1, 22)), "all"]})
    assert chosen_hours(short) == ["1", "3", "6", "12", "18", "21"]
    middle = pd.DataFrame({"lead_hours": [*(str(hour) for hour in range(1, 31)), "all"]})
    assert chosen_hours(middle) == ["1", "3", "6", "12", "18", "30"]
    long = pd.DataFrame({"lead_hours": [*(str(hour) for hour in range(1, 241)), "all"]})
    assert chosen_hours(long) == ["1", "3", "12", "24", "72", "240"]


def rows(
    metric: str, values: dict[str, float], *, band: str = "all", variable: str = "zos"
) -> list[dict[str, object]]:
    return [
        {"forecaster": "FNOtD", "variable": variable, "metric": metric, "band": band, "lead_hours": lead,
         "value": value, "low": np.nan, "high": np.nan, "count": 1}
        for lead, value in values.items()
    ]  # fmt: skip


def test_a_section_is_there_when_its_rows_are_with_the_unit_that_they_tell() -> None:
    styles = {"FNOtD": Line("#0072b2", "", 2.4)}
    plain = pd.DataFrame(rows("rmse", {"1": 0.1, "all": 0.1}))
    assert metric_sections(plain, Naming({}), styles) == []
    scales = [rows("power_spectrum", {"all": float(k)}, band=f"{k}-{2 * k} km") for k in (10, 20, 40, 80)]
    table = pd.DataFrame(
        [
            *rows("crps", {"1": 0.05, "2": 0.06, "all": 0.055}),
            *rows("csi", {"all": 0.4}, band="above 0.5 m"),
            *(row for part in scales for row in part),
            *rows("never_heard_of", {"all": 7.0}),
        ]
    )
    naming = Naming({"crps": {"units": "variable"}, "power_spectrum": {"units": "variable2"}})
    sections = {section.key: section for section in metric_sections(table, naming, styles)}
    assert list(sections) == ["ensemble", "thresholds", "spectra", "others"]
    (by_lead,) = sections["ensemble"].charts
    assert by_lead.data["y"] == "CRPS (m)"
    assert by_lead.data["traces"][0]["y"] == [0.05, 0.06]
    (spectrum,) = sections["spectra"].charts
    assert (spectrum.data["x"], spectrum.data["y"]) == ("wavelength (km)", "Power spectrum ((m)²)")
    # A band stands where both its ends are equally many times away
    np.testing.assert_allclose(spectrum.data["places"], np.array([10, 20, 40, 80]) * np.sqrt(2), rtol=1e-4)
    (counts,) = sections["thresholds"].tables
    assert counts["columns"] == ["Critical success index of the sea level, above 0.5 m"]
    assert counts["rows"][0].cells == ["0.4"]
    assert sections["others"].tables[0]["rows"][0].cells == ["7"]


def test_bands_are_an_axis_only_if_they_are_numbers_of_one_unit() -> None:
    assert band_axis(["0", "1", "2", "3"]) == ("", {"0": 0.0, "1": 1.0, "2": 2.0, "3": 3.0})
    assert band_axis(["1 km", "2 km", "3 h", "4 km"]) is None
    assert band_axis(["under 200 km", "200-400 km", "400-800 km", "over 800 km"]) is None


def test_a_plot_of_very_many_leads_is_thinned_and_says_so() -> None:
    hours = np.arange(1.0, 9001.0)
    table = pd.DataFrame(
        {"forecaster": "FNOtD", "lead_hours": hours, "value": hours, "low": np.nan, "high": np.nan}
    )
    found = chart(table, {"FNOtD": Line("#0072b2", "", 2.4)}, label="RMSE (m)", title="RMSE")
    assert found is not None
    assert "6000 of 9000 leads are drawn, evenly chosen." in found.svg
    assert (found.data["places"][0], found.data["places"][-1], len(found.data["places"])) == (1, 9000, 6000)
    assert found.data["traces"][0]["y"] == found.data["places"]
    assert "low" not in found.data["traces"][0]
