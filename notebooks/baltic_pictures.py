"""Pictures of the Baltic experiment: errors by lead, energy by wavelength and by frequency, levels at gauges."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from baltic_scores import Sea
from numpy.typing import NDArray

from forecasting import lines
from forecasting.ratios import SPECTRUM, Row
from oceanop.constants import EARTH_ROTATION, GRAVITY
from oceanop.spectra import frequency_power

mpl.use("Agg")
from matplotlib import pyplot as plt

Array = NDArray[np.float64]

PANELS = {"zos": "level (m)", "ubar+vbar": "depth-mean current (m s⁻¹)"}
DAY = 86400.0  # s
MOST = 4.0  # times the median forecaster's largest error: what lies above leaves the frame
GAUGES_SHOWN = 4
COLOURS = (*lines.COLOURS, "#000000", "#888888", "#8B5A2B")


def colours(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line of each forecaster: solid for operators, broken for others."""
    styles = {}
    for i, name in enumerate(names):
        dashed = not name.startswith("FNO")
        styles[name] = (COLOURS[i % len(COLOURS)], "--" if dashed else "-")
    return styles


def draw_curves(to: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Root mean square error by lead, with intervals as bands."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axes, (variable, label) in zip(panels, PANELS.items(), strict=True):
        tops = []
        for name, (colour, line) in colours(names).items():
            own = [
                row
                for row in rows
                if (row["forecaster"], row["variable"], row["metric"], row["band"])
                == (name, variable, "rmse", "all")
                and row["lead_hours"] != "all"
            ]
            hours = [float(row["lead_hours"]) for row in own]
            value, low, high = (np.array([row[key] for row in own]) for key in ("value", "low", "high"))
            axes.plot(hours, value, line, color=colour, label=name, linewidth=1.6)
            axes.fill_between(hours, low, high, color=colour, alpha=0.13, linewidth=0)
            tops.append(value.max())
        axes.set(xlabel="lead (h)", ylabel=f"RMSE of {label}", xlim=(0, max(hours)))
        axes.set_ylim(0, min(MOST * float(np.median(tops)), 1.08 * max(tops)))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    save(figure, to)


def draw_bands(
    to: Path, rows: Sequence[Row], names: Sequence[str], bands: Sequence[str], *, lead: int
) -> None:
    """Energy of forecasts over that of the truth by wavelength, at one lead, with intervals."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axes, (variable, label) in zip(panels, PANELS.items(), strict=True):
        for i, (name, (colour, line)) in enumerate(colours(names).items()):
            held = {
                row["band"]: row
                for row in rows
                if (row["forecaster"], row["variable"], row["metric"], row["lead_hours"])
                == (name, variable, SPECTRUM, f"{lead}")
            }
            place = [n + 0.05 * (i - len(names) / 2) for n, band in enumerate(bands) if band in held]
            value, low, high = (
                np.array([held[band][key] for band in bands if band in held])
                for key in ("value", "low", "high")
            )
            axes.plot(place, value, line, color=colour, marker="o", markersize=3, label=name)
            axes.vlines(place, low, high, color=colour, linewidth=1)
        axes.axhline(1, color="black", linewidth=0.7)
        axes.set_yscale("log")
        axes.set_ylim(1e-2, 1e2)
        axes.set_xticks(range(len(bands)), bands, fontsize=8)
        axes.set(xlabel="wavelength", title=f"variance of the {label.split(' (')[0]}")
    panels[0].set_ylabel(f"forecast over truth, {lead} h")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    save(figure, to)


def draw_waves(to: Path, series: Mapping[str, Mapping[str, Array]], sea: Sea) -> None:
    """Variance of the level by mode of the basin and frequency over the long forecasts, and the curves of waves."""
    first = next(iter(series.values()))
    planes = {"truth": mean_power(first["true_amplitudes"])}
    planes |= {name: mean_power(held["amplitudes"]) for name, held in series.items()}
    steps = first["amplitudes"].shape[1]
    frequency = np.fft.rfftfreq(steps, 3600.0) * DAY
    modes = first["amplitudes"].shape[-1]
    wavenumber = sea.modes.wavenumber[:modes]
    highest = planes["truth"].max()
    norm = mpl.colors.LogNorm(1e-6 * highest, highest)
    figure, panels = plt.subplots(
        1, len(planes), figsize=(2.4 * len(planes) + 1, 4), sharey=True, squeeze=False, layout="constrained"
    )
    water = sea.area * sea.depth
    speed = np.sqrt(GRAVITY * water.sum() / sea.area.sum())
    curve = np.hypot(2 * EARTH_ROTATION * np.sin(np.deg2rad(59)), 2 * np.pi * wavenumber * speed)
    for axes, (name, power) in zip(panels[0], planes.items(), strict=True):
        image = axes.pcolormesh(
            np.arange(modes), frequency, np.clip(power, norm.vmin, norm.vmax), norm=norm, cmap="magma"
        )
        axes.plot(np.arange(modes), curve * DAY / (2 * np.pi), color="white", linewidth=0.7, linestyle=":")
        axes.set(ylim=(0, 6), title=name)
        axes.title.set_fontsize(8)
    panels[0, 0].set_ylabel("frequency (cycles a day)")
    figure.supxlabel(
        "mode of the basin, longest first; dotted: Poincaré waves over the mean depth, "
        "which coasts and shoals hold back",
        fontsize=9,
    )
    figure.colorbar(image, ax=panels, label="variance of the level (m²)", extend="both")
    save(figure, to)


def mean_power(amplitudes: Array) -> Array:
    """Mean over starts, ``[frequency, mode]``; a forecast that diverged has none."""
    kept = [each for each in amplitudes if np.abs(each).max() < 1e6]
    powers = [frequency_power(each, 3600.0)[1] for each in kept]
    empty = np.zeros((amplitudes.shape[1] // 2 + 1, amplitudes.shape[2]))
    return np.mean(powers, axis=0) if powers else empty


def draw_gauges(to: Path, forecasts: Mapping[str, xr.Dataset], truth: xr.Dataset, sea: Sea) -> None:
    """Levels of one storm at gauges, forecast from two days before its peak."""
    true = sea.levels(truth["zos"].isel(init_time=0).to_numpy())
    shown = np.argsort(-np.abs(true).max(0))[:GAUGES_SHOWN]
    hours = truth["lead_time"].to_numpy() / np.timedelta64(1, "h")
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(9, 2.2 * len(shown)), sharex=True, layout="constrained"
    )
    for axes, gauge in zip(np.atleast_1d(panels), shown, strict=True):
        for name, (colour, line) in colours(list(forecasts)).items():
            own = sea.levels(forecasts[name]["zos"].isel(init_time=0).to_numpy())[:, gauge]
            axes.plot(hours, own, line, color=colour, linewidth=1.3, label=name)
        axes.plot(hours, true[:, gauge], color="black", linewidth=1.8, label="truth")
        reach = 1.4 * np.abs(true[:, gauge]).max()
        axes.set(title=list(sea.gauges)[gauge], ylabel="level (m)", ylim=(-reach, reach))
    handles = np.atleast_1d(panels)[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8)
    start = np.datetime_as_string(truth["init_time"].to_numpy()[0], unit="h")
    np.atleast_1d(panels)[-1].set_xlabel(f"hours after {start} UTC of the simulated time")
    save(figure, to)


def save(figure: plt.Figure, to: Path) -> None:
    """Write a picture, the same bytes for the same content."""
    figure.savefig(to, dpi=120, metadata={"Software": None})
    plt.close(figure)
