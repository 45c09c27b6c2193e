"""The README quotes figures that a command wrote, and nothing else."""

import csv
import re
from pathlib import Path

import pytest

from oceanop.cli.demo import SHARE

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
        if re.match(r"\| [*\w-]+ (\(seed \d\) )?\|( [*\d.]+ \|){7} [\d.]+–", line)
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


BALTIC = [  # scale, in what the FNOs are equal to FNOtD besides, and the words around the figures
    ("baltic-averaged", "", "equal cost: {}"),
    ("baltic-month", "", "it is {}"),
    ("baltic", "", "past 50 hours, at equal cost: {}"),
    ("baltic-averaged", "-equal-steps", "In as many steps it has {}"),
    ("baltic-averaged", "-equal-parameters", "with as many parameters {}"),
]
METHODS = {  # as the README calls them, in the exchange's measurements, and in the training curves
    "float32": ("float32", "off"),
    "fp16": ("float16", "fp16"),
    "bf16": ("bfloat16", "bf16"),
    "PowerSGD, each mode": ("powersgd-mode-4", "powersgd-mode-4"),
    "PowerSGD, all modes": ("powersgd-whole-4", "powersgd-whole-4"),
    "8 bits (QSGD)": ("codes-8b", "qsgd-8"),
    "4 bits (NUQSGD)": ("codes-4b", "nuqsgd-4"),
    "4 bits (ALQ)": ("codes-4b-adapted", "alq-4"),
}


def results(path: str) -> list[dict[str, str]]:
    with (ROOT / "notebooks" / "results" / path).open() as file:
        return list(csv.DictReader(file))


def exchange_table() -> list[str]:
    """The README's table of exchanges, from what the commands wrote."""
    heads = ["gradients", "average, 100 Mbit/s", "1 Gbit/s", "step, 100 Mbit/s", "1 Gbit/s", "bits a number"]
    heads += ["error, 2 ranks", "error, 4 ranks"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for words, (measured, learned) in METHODS.items():
        files = ("exchange/average.csv", "exchange/training_step.csv")
        cells = [words, *(time_of(path, link, measured) for path in files for link in ("100", "1000"))]
        bits = {row["method"]: row["bits_per_number"] for row in results("exchange/training_step.csv")}
        cells.append(f"{float(bits[measured]):.1f}" if measured in bits else "–")
        cells += [error_of(ranks, learned) for ranks in ("2", "4")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def error_of(ranks: str, method: str) -> str:
    """Error over that of float32: mean over seeds, and the least and largest of them."""
    for row in results("compression/summary.csv"):
        if (row["ranks"], row["method"]) == (ranks, method):
            mean, low, high = (float(row[name]) for name in ("to_float32", "lowest", "highest"))
            return "1" if method == "off" else f"{mean:.3f} ({low:.3f}–{high:.3f})"
    return "–"


def time_of(path: str, link: str, method: str) -> str:
    for row in results(path):
        if (row["link_mbit"], row["ranks"], row["method"]) == (link, "2", method):
            return f"{float(row['median_ms']):.0f} ms ({float(row['times_faster_than_float32']):.1f}×)"
    return "–"


@pytest.mark.parametrize("line", exchange_table())
def test_the_table_of_exchanges_is_the_one_that_was_measured(line: str) -> None:
    assert line in README.splitlines()


def step_table() -> list[str]:
    """The README's table of training steps, from what the benchmark wrote."""
    rows = {(row["case"], row["contender"]): row for row in results("training_step.csv")}
    lines = []
    for case in dict.fromkeys(case for case, _ in rows):
        ours, *theirs = (rows[case, name] for name in (case.split(",")[0], "neuralop", "neuralop, tuned"))
        size, modes = (ours[name].replace(" ", "×") for name in ("size", "modes"))
        cells = [case, f"{size}, modes {modes}, width {ours['width']}, batch {ours['batch']}", cost(ours)]
        cells += [f"{cost(row)} ({float(row['times_ours']):.1f}×)" for row in theirs]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cost(row: dict[str, str]) -> str:
    seconds = float(row["seconds"])
    time = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    return f"{time}, {float(row['peak_megabytes']) / 1000:.2f} GB"


def comparison_table() -> list[str]:
    """The README's table of FNOtD beside every FNO: means over the seeds that were run."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in results("norkyst/comparison.csv"):
        groups.setdefault((row["form"], row["equal"]), []).append(row)
    lines = []
    for (form, equal), rows in groups.items():
        names = [*(f"rmse_{hour}h" for hour in (1, 3, 6, 12, 21)), "rmse"]
        means = [sum(float(row[name]) for row in rows) / len(rows) for name in names]
        cells = [form, equal, str(len(rows)), rows[0]["steps"], *(f"{mean:.3f}" for mean in means)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@pytest.mark.parametrize("line", [*step_table(), *comparison_table()])
def test_the_tables_of_steps_and_of_the_comparison_are_those_that_were_measured(line: str) -> None:
    assert line in README.splitlines()


def baltic_table(scale: str) -> list[str]:
    """The README's table of a scale of the Baltic experiment, of operators at equal cost and what is beside them."""
    values = {
        (row["forecaster"], row["variable"], row["metric"], row["band"], row["lead_hours"]): float(
            row["value"]
        )
        for row in results(f"{scale}/scores.csv")
    }
    seconds: dict[str, list[float]] = {}
    for row in results(f"{scale}/costs.csv"):
        seconds.setdefault(row["forecaster"], []).append(float(row["forecast_seconds"]))
    lines = []
    for name, spent in seconds.items():
        if "-equal-" in name:
            continue
        cells = [values[name, "zos", "rmse", "all", lead] for lead in ("1", "6", "24", "50", "100", "240")]
        cells += [values[name, "zos", "rmse", "gauges", "24"]]
        words = [f"{value:.3f}" for value in cells]
        words += [f"{values[name, 'energy', 'energy_ratio', '101-240 h', '240']:.2f}"]
        words += [f"{values[name, 'zos', 'log_spectrum_error', 'all', '240']:.2f}"]
        lines.append(f"| {' | '.join([name, *words, f'{sum(spent) / len(spent):.2f} s'])} |")
    return lines


@pytest.mark.parametrize("line", baltic_table("baltic-averaged"))
def test_the_table_of_the_baltic_is_the_one_that_was_measured(line: str) -> None:
    assert line in README.splitlines()


@pytest.mark.parametrize(("scale", "equal", "around"), BALTIC)
def test_the_readme_quotes_the_errors_past_50_hours_with_their_intervals(
    scale: str, equal: str, around: str
) -> None:
    rows = {
        row["metric"]: [float(row[name]) for name in ("value", "low", "high")]
        for row in results(f"{scale}/scores.csv")
        if (row["forecaster"], row["variable"], row["band"]) == ("FNOtD", "zos", "51-240 h")
    }
    named = {"-one-step-vanilla": "the one-step FNO's", "-one-step": "the unrolled one's"}
    named["-channels"] = "that with time in channels"
    ratios = []
    for form, words in named.items():
        value, low, high = rows[f"rmse_over_FNO{form}{equal}"]
        ratios.append(f"{value:.2f} [{low:.2f}, {high:.2f}] of {words}")
    error = [] if equal else [f"{rows['rmse'][0]:.3f} m"]
    assert around.format(", ".join([*error, *ratios])) in " ".join(README.split())


def test_the_readme_quotes_the_gauges_over_20_days() -> None:
    (value,) = (
        float(row["value"])
        for row in results("baltic-averaged/scores.csv")
        if (row["forecaster"], row["metric"], row["band"]) == ("FNOtD", "rmse", "gauges 1-480 h")
    )
    assert f"at the gauges over 20 days {value:.3f} m" in " ".join(README.split())


def test_the_readme_quotes_what_fading_brings_on_held_out_hours() -> None:
    rows = {
        (row["fold"].split()[0], row["forecaster"]): float(row["rmse"])
        for row in results("norkyst/fading.csv")
    }
    forecasters = (
        "FNOtD, alone",
        "FNOtD, mean of 4",
        "FNO one-step, mean of 4",
        "faded, shares of the other fold",
    )
    last, first = ([f"{rows[fold, name]:.3f}" for name in forecasters] for fold in ("last", "first"))
    text = " ".join(README.split())
    one, four, short, faded = (f"{a} and {b}" for a, b in zip(last, first, strict=True))
    assert (
        f"one FNOtD has {one}, four together {four}, four one-step FNOs {short}, and the two faded {faded}"
        in text
    )


def test_the_demonstration_takes_the_shares_that_both_folds_want() -> None:
    shares = [float(row["share"]) for row in results("norkyst/fading_shares.csv") if row["hours"] == "both"]
    assert [round(share, 2) for share in shares] == list(SHARE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", README))))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
