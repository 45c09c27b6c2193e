"""What low rank keeps of a real gradient, for each view of spectral weights as matrices.

``pytest -m benchmark tests/benchmarks/test_powersgd_views.py`` measures it in a minute and writes
``notebooks/results/exchange/powersgd_views.csv``.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_pipelines import WindowDataset, ingest, sample_paths
from oceanop import FNOtD
from oceanop.cli.demo import COARSEN, SPLITS
from tests.benchmarks.powersgd import View, matrices, saving
from tests.network import ROOT

STEPS = 40
BATCH = 4  # windows in the gradient: of two ranks with two each, for example
TRIED: list[tuple[View, int]] = [
    ("mode", 1),
    ("mode", 2),
    ("mode", 4),
    ("mode", 8),
    ("whole", 4),
    ("whole", 16),
    ("whole", 32),
    ("whole", 128),
]


@pytest.mark.benchmark
def test_what_low_rank_keeps_of_a_real_gradient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = sample_paths()
    ingest([sample.ocean], to=tmp_path / "s.zarr", forcing=[sample.wind], coarsen=COARSEN, splits=SPLITS)
    rows: list[dict[str, Any]] = []
    for name, gradient in spectral_gradients(
        WindowDataset(tmp_path / "s.zarr", history=6, horizon=6, split="train")
    ):
        for view, rank in TRIED:
            kept = best_approximation(gradient, view, rank)
            lost, whole = (x.flatten(0, 2).flatten(1) for x in (gradient - kept, gradient))
            by_mode = lost.norm(dim=1) / whole.norm(dim=1)
            rows.append(
                {
                    "weight": name,
                    "view": view,
                    "rank": rank,
                    "saving": round(saving(gradient, rank=rank, view=view), 2),
                    "relative_error": round(float(lost.norm() / whole.norm()), 5),
                    "median_relative_error_of_a_mode": round(float(by_mode.median()), 5),
                    "windows": BATCH,
                    "after_steps": STEPS,
                    "torch": torch.__version__,
                }
            )
            if view == "mode" and rank >= 2 * BATCH:
                # Exact, but for float32 in the decomposition.
                assert rows[-1]["relative_error"] < 1e-4
    path = ROOT / "notebooks" / "results" / "exchange" / "powersgd_views.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with capsys.disabled():
        print()
        for row in rows:
            print(*list(row.values())[:6])


def spectral_gradients(windows: WindowDataset) -> list[tuple[str, Tensor]]:
    """Gradients of the spectral weights of FNOtD once it has learned a little on the shipped sample."""
    torch.manual_seed(0)
    model = FNOtD(
        state_channels=2,
        forcing_channels=2,
        static_channels=1,
        history=6,
        horizon=6,
        modes=(8, 16, 16),
        width=32,
        layers=4,
    )
    scale = windows[0].history.std(dim=(1, 2, 3), keepdim=True)
    static = windows.wet[:1].float()

    def backward(chosen: list[int]) -> None:
        model.zero_grad()
        for window in (windows[i] for i in chosen):
            forecast = model(
                (window.history / scale)[None], (window.forcing / 8)[None], static
            )  # 8 m s-1, a breeze
            error = (forecast - (window.target / scale)[None]) * static
            (error.square().mean() / len(chosen)).backward()

    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        backward(torch.randint(len(windows), (2,), generator=draw).tolist())
        optimizer.step()
    backward(torch.randperm(len(windows), generator=draw)[:BATCH].tolist())
    return [
        (name, weight.grad)
        for name, weight in model.named_parameters()
        if weight.dim() > 2 and weight.grad is not None
    ]


def best_approximation(gradient: Tensor, view: View, rank: int) -> Tensor:
    """The nearest gradient of a rank (Eckart and Young 1936): what a power iteration can reach at best."""
    left, sizes, right = torch.linalg.svd(matrices(gradient, view), full_matrices=False)
    kept = (left[..., :rank] * sizes[:, None, :rank]) @ right[:, :rank]
    return kept.reshape(gradient.shape)
