"""The README quotes figures that a command wrote, and nothing else."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COLUMNS = ("1", "3", "6", "12", "18", "21", "all")


def scores() -> dict[tuple[str, str], tuple[float, float, float]]:
    """RMSE of the current and its interval, by forecaster and lead, as the evaluation wrote them."""
    with (ROOT / "notebooks" / "results" / "norkyst" / "scores.csv").open() as file:
        return {
            (row["forecaster"], row["lead_hours"]): (
                float(row["value"]),
                float(row["low"]),
                float(row["high"]),
            )
            for row in csv.DictReader(file)
            if (row["variable"], row["metric"]) == ("uo+vo", "rmse")
        }


def table_rows() -> list[list[str]]:
    """Cells of the README's table of errors."""
    return [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for line in README.splitlines()
        if re.match(r"\| [*\w-]+ (\(seed \d\) )?\|( [*\d.]+ \|){7}", line)
    ]


@pytest.mark.parametrize("row", table_rows(), ids=lambda row: row[0])
def test_every_figure_of_the_table_is_the_one_that_was_measured(row: list[str]) -> None:
    measured = scores()
    name = re.sub(r" \(seed (\d)\)", r"-seed\1", row[0])
    assert row[1:8] == [f"{measured[name, lead][0]:.3f}" for lead in COLUMNS]
    low, high = measured[name, "all"][1:]
    assert row[8] == f"{low:.3f}–{high:.3f}"


def test_the_table_has_every_forecaster() -> None:
    named = {re.sub(r" \(seed (\d)\)", r"-seed\1", row[0]) for row in table_rows()}
    assert named == {forecaster for forecaster, _ in scores()}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", README))))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
