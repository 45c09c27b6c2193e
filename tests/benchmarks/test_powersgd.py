"""PowerSGD, the peer, does what its paper says: else a comparison with it is worth nothing."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from oceanop.operators.spectral import SpectralConv
from tests.benchmarks.powersgd import PowerSGD, View, matrices, orthonormalise, power_sgd, saving

RANKS = 2
STEPS = 6
WIDTH = 16  # of the model: wide enough for rank four to save


def gradient_of(rank: int, step: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 * rank + step))


def mean_of(step: int, shape: tuple[int, ...]) -> Tensor:
    return torch.stack([gradient_of(rank, step, shape) for rank in range(RANKS)]).mean(0)


def model_and_field(rank: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, WIDTH), SpectralConv(WIDTH, WIDTH, (4, 4)), nn.Linear(WIDTH, 3))
    return model, torch.randn(1, 6, 7, 3, generator=torch.Generator().manual_seed(rank))


def one_rank(rank: int, folder: str) -> None:
    """Everything that needs two processes, once; the tests look at what it leaves."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    told: dict[str, Tensor | list[Tensor]] = {}
    matrix, spectral = (12, 8), (3, 2, 5, 4, 2)
    for name, shape, width in (("rows", matrix, 8), ("modes", spectral, 5)):
        state = PowerSGD(None, rank=width, least_saving=0)
        gradient = gradient_of(rank, 0, shape)
        state.average({0: gradient})
        told[f"full rank {name}"] = gradient
    views: tuple[View, View] = ("mode", "whole")
    for view in views:
        state = PowerSGD(None, rank=1, view=view, least_saving=0)
        sent = torch.zeros(spectral, dtype=torch.float64)
        for step in range(STEPS):
            gradient = gradient_of(rank, step, spectral)
            state.average({0: gradient})
            sent += gradient
        told[f"sent {view}"], told[f"error {view}"] = sent, state.error(0).reshape(spectral)
        told[f"bytes {view}"] = torch.tensor(state.bytes_sent)
    model, field = model_and_field(rank)
    small = 1e-4  # megabytes: a bucket for each parameter, and so many all-reduces in flight
    ddp = DistributedDataParallel(model, bucket_cap_mb=small)
    power_sgd(ddp, rank=4)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        ddp(field).square().mean().backward()
        if step == 0:
            told["gradients"] = [p.grad.clone() for p in ddp.parameters() if p.grad is not None]
        optimizer.step()
    told["weights"] = [p.detach().clone() for p in ddp.parameters()]
    torch.save(told, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder: Path = tmp_path_factory.mktemp("powersgd")
    torch.multiprocessing.spawn(one_rank, args=(str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def test_factors_of_full_rank_give_the_mean(told: list[dict]) -> None:
    for name, shape in (("rows", (12, 8)), ("modes", (3, 2, 5, 4, 2))):
        # float32: a projection onto an orthonormal basis of all rows, a few roundings each
        torch.testing.assert_close(told[0][f"full rank {name}"], mean_of(0, shape), rtol=0, atol=2e-6)


@pytest.mark.parametrize("view", ["mode", "whole"])
def test_what_was_sent_and_what_is_owed_are_all_gradients(told: list[dict], view: str) -> None:
    shape = (3, 2, 5, 4, 2)
    owed = torch.stack([rank[f"error {view}"] for rank in told]).double().mean(0)
    total = torch.stack([mean_of(step, shape) for step in range(STEPS)]).double().sum(0)
    # float32 sums of a few numbers of size ten
    torch.testing.assert_close(told[0][f"sent {view}"] + owed, total, rtol=0, atol=1e-5)
    assert owed.norm() > 0.1 * total.norm()  # rank one owes much of a gradient of noise: the law is not empty


def test_a_gradient_of_few_samples_passes_whole(told: list[dict]) -> None:
    """One sample on each of two ranks makes modes of real rank four."""
    expected = []
    for rank in range(RANKS):
        model, field = model_and_field(rank)
        model(field).square().mean().backward()
        expected.append([p.grad for p in model.parameters() if p.grad is not None])
    assert any(saving(gradient, rank=4, view="mode") > 2 for gradient in expected[0])
    for sent, *parts in zip(told[0]["gradients"], *expected, strict=True):
        mean = torch.stack(parts).mean(0)
        # float32, relative to the largest: singular values that should vanish are roundings
        torch.testing.assert_close(sent, mean, rtol=0, atol=2e-6 * float(mean.abs().max()))


def test_replicas_stay_identical_over_many_buckets(told: list[dict]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(told[0]["weights"], told[1]["weights"], strict=True))


def test_bytes_are_those_of_the_factors(told: list[dict]) -> None:
    for view, numbers in (("mode", 6 * (5 + 8)), ("whole", 6 + 40)):
        assert int(told[0][f"bytes {view}"]) == STEPS * 4 * numbers  # two ranks: each number once, float32


def test_orthonormal_columns_even_where_the_columns_depend_on_each_other() -> None:
    basis = torch.randn(5, 12, 4, generator=torch.Generator().manual_seed(0))
    basis[1, :, 2] = basis[1, :, 0] + 1e-6 * basis[1, :, 1]
    basis[2, :, 3] = 0
    basis[3] *= 1e-15
    product = orthonormalise(basis).transpose(1, 2) @ orthonormalise(basis)
    expected = torch.eye(4).repeat(5, 1, 1)
    expected[2, 3, 3] = 0
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-5)  # float32 over twelve rows


def test_views_are_of_the_gradient_itself() -> None:
    gradient = torch.zeros(3, 2, 5, 4, 2)
    views: tuple[View, View] = ("mode", "whole")
    for view in views:
        matrices(gradient, view).add_(1)
    assert (gradient == 2).all()
    assert matrices(gradient, "mode").shape == (6, 5, 8)
    assert matrices(gradient, "whole").shape == (1, 6, 40)
