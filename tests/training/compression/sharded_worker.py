"""Ranks of small sharded models; ``python -m tests.training.compression.sharded_worker FOLDER`` keeps what they saw."""

import multiprocessing
import multiprocessing.connection
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard
from torch.nn import functional

from oceanop import FNOtD
from training.compression import ALQ, QSGD, Cast, Quantizer
from training.compression.sharded import ShardedExchange, compress_reduce_scatter

WORLDS = (2, 3, 4)
STEPS = 3
WARMUP = 1
SEED = 7
NOT_FINITE = (1, "inner.weight", 5)  # rank, parameter and place, in the first rank's part, of a NaN
SHAPES = {  # by module; the rows of "thin" are fewer than ranks, others are no multiple of them
    "inner": {"weight": (101, 90), "gain": (101,)},
    "middle": {"weight": (33, 130)},
    "": {"weight": (70, 100), "bias": (70,), "small": (9, 11), "thin": (2, 4100), "across": (5, 1200)},
}
NAMES = [  # in the order of the model's parameters
    *SHAPES[""],
    *(f"inner.{name}" for name in SHAPES["inner"]),
    *(f"middle.{name}" for name in SHAPES["middle"]),
]
FNOTD_STEPS = 12


def codes() -> Quantizer:
    return QSGD(4, 64)


def shape_of(name: str) -> tuple[int, ...]:
    module, _, parameter = name.rpartition(".")
    return SHAPES[module][parameter]


def slopes(rank: int, step: int) -> dict[str, Tensor]:
    """The gradient that a rank has in a step, of parameters by name."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    return {name: torch.randn(shape_of(name), generator=generator) for name in NAMES}


class Linear(nn.Module):
    """A linear function of its parameters, so that gradients are what they are told to be."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = f"{prefix}." if prefix else ""
        for name, shape in SHAPES[prefix].items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        if not prefix:
            self.inner, self.middle = Linear("inner"), Linear("middle")

    def forward(self, slopes: dict[str, Tensor]) -> Tensor:
        own = [
            (parameter * slopes[self.prefix + name]).sum()
            for name, parameter in self.named_parameters(recurse=False)
            if self.prefix + name in slopes
        ]
        return torch.stack([*own, *(child(slopes) for child in self.children())]).sum()


def sharded(mesh: DeviceMesh, policy: MixedPrecisionPolicy | None = None) -> Linear:
    """The model, its inner module in a group of its own, and one parameter cut along its second axis."""
    model = Linear()
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": policy or MixedPrecisionPolicy()}
    fully_shard(model.inner, **options)
    fully_shard(model, **options, shard_placement_fn=lambda p: Shard(1) if p is model.across else None)
    return model


def passes(model: Linear, steps: range) -> list[dict[str, Tensor]]:
    """This rank's part of the mean gradient in each of some steps."""
    found = []
    for step in steps:
        model.zero_grad()
        model(slopes(dist.get_rank(), step)).backward()
        found.append(parts(model))
    return found


def parts(model: Linear) -> dict[str, Tensor]:
    """This rank's part of each gradient; copies, for views are saved with all that they look at."""
    return {name: p.grad.to_local().clone() for name, p in model.named_parameters()}


def compressed(mesh: DeviceMesh, *, segment: int | None = None) -> dict[str, Any]:
    """Gradients and bytes of each step, in codes."""
    model = sharded(mesh)
    state = compress_reduce_scatter(model, codes(), warmup_steps=WARMUP, seed=SEED)
    for group in state.groups.values():
        group.segment = segment or group.segment
    gradients, sent = [], []
    for step in range(STEPS):
        before = state.bytes_sent
        gradients += passes(model, range(step, step + 1))
        sent.append(state.bytes_sent - before)
    return {"gradients": gradients, "bytes": sent, "seconds": state.seconds, "step": state.step}


def exact(mesh: DeviceMesh, prepare: Callable[[FSDPModule], None] | None = None) -> dict[str, Tensor]:
    """Gradients of one step by float32 messages."""
    model = sharded(mesh)
    compress_reduce_scatter(model, Cast())
    for module in model.modules():
        if isinstance(module, FSDPModule) and prepare is not None:
            prepare(module)
    return passes(model, range(1))[0]


def divide_in_sum(module: FSDPModule) -> None:
    module.set_gradient_divide_factor(5.0)
    module.set_force_sum_reduction_for_comms(True)


def not_finite(mesh: DeviceMesh) -> dict[str, Tensor]:
    """Gradients in codes where one rank has a NaN in what another one owns."""
    model = sharded(mesh)
    compress_reduce_scatter(model, codes())
    given = slopes(dist.get_rank(), 0)
    rank, name, place = NOT_FINITE
    if dist.get_rank() == rank:
        given[name].view(-1)[place] = torch.nan
    model(given).backward()
    return parts(model)


def learned(mesh: DeviceMesh) -> dict[str, Any]:
    """Adapted levels: a run of four steps, and its last two begun anew from what a checkpoint kept."""
    model, again = sharded(mesh), sharded(mesh)
    state, taken_up = (
        compress_reduce_scatter(m, ALQ(3, 64), warmup_steps=WARMUP, seed=SEED) for m in (model, again)
    )
    passes(model, range(2))
    kept = state.state_dict()
    whole = passes(model, range(2, 4))
    taken_up.load_state_dict(kept)
    return {"whole": whole, "resumed": passes(again, range(2, 4)), "kept": kept}


def accumulated(mesh: DeviceMesh) -> dict[str, Tensor]:
    """Two passes, of which the first is not sent, by float32 messages."""
    model = sharded(mesh)
    state = compress_reduce_scatter(model, Cast())
    model.set_requires_gradient_sync(False)
    model(slopes(dist.get_rank(), 0)).backward()
    assert state.step == 0
    model.set_requires_gradient_sync(True)
    model(slopes(dist.get_rank(), 1)).backward()
    return parts(model)


def refusals(mesh: DeviceMesh) -> dict[str, str]:
    """What is said to models that cannot be served."""
    said = {}

    def hear(case: str, act: Callable[[], object]) -> None:
        try:
            act()
        except ValueError as error:
            said[case] = str(error)

    half = sharded(mesh, MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    compress_reduce_scatter(half, codes())
    hear("bfloat16", lambda: passes(half, range(1)))
    partial = sharded(mesh)
    compress_reduce_scatter(partial, codes())
    given = slopes(0, 0)
    del given["bias"]
    hear("unused", lambda: partial(given).backward())
    together = Linear()
    fully_shard([together.inner, together.middle], mesh=mesh)
    fully_shard(together, mesh=mesh)
    compress_reduce_scatter(together, codes())
    hear("list", lambda: passes(together, range(1)))
    other = Linear()
    fully_shard(other, mesh=mesh)
    state = compress_reduce_scatter(other, codes())
    hear("modules", lambda: state.load_state_dict({"inner": {}, "": {}}))
    return said


def unused(mesh: DeviceMesh) -> dict[str, Tensor]:
    """Gradients where one parameter got none, cured as the refusal says."""
    model = sharded(mesh)
    compress_reduce_scatter(model, Cast())
    model.set_reduce_scatter_unused_params(True)
    given = slopes(dist.get_rank(), 0)
    del given["bias"]
    model(given).backward()
    return parts(model)


def trained(mesh: DeviceMesh, quantizer: Quantizer | Cast) -> dict[str, Any]:
    """Losses and last weights of a small FNOtD, each rank with data of its own."""
    torch.manual_seed(0)
    channels = {"state_channels": 2, "forcing_channels": 1, "static_channels": 2}
    model = FNOtD(**channels, history=3, horizon=3, modes=(4, 4, 4), width=8, layers=2)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    begin = torch.cat([p.full_tensor().flatten() for p in model.parameters()]).detach()
    state: ShardedExchange = compress_reduce_scatter(model, quantizer, min_numel=1000)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    wave = torch.arange(12) / 12 * 2 * torch.pi
    losses = []
    for step in range(FNOTD_STEPS):
        phase = torch.rand(2, generator=torch.Generator().manual_seed(2 * step + dist.get_rank())) * 6
        time = torch.arange(6)[None, :, None, None]
        angle = wave - 0.5 * time + phase[:, None, None, None] + torch.zeros(6, 1)
        field = torch.stack([angle.cos(), angle.sin()], 1)
        future = model(field[:, :, :3], torch.zeros(2, 1, 6, 6, 12), torch.ones(2, 6, 12))
        loss = functional.mse_loss(future, field[:, :, 3:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    end = torch.cat([p.full_tensor().flatten() for p in model.parameters()]).detach()
    return {"losses": losses, "begin": begin, "end": end, "bytes": state.bytes_sent}


def of_two(mesh: DeviceMesh) -> dict[str, Any]:
    return {
        "codes": compressed(mesh),
        "trained": {"exact": trained(mesh, Cast()), "codes": trained(mesh, QSGD(8, 64))},
    }


def of_three(mesh: DeviceMesh) -> dict[str, Any]:
    return {
        "codes": compressed(mesh),
        "segments": compressed(mesh, segment=1500),
        "own": passes(sharded(mesh), range(1))[0],
        "float32": exact(mesh),
        "divided in a sum": exact(mesh, divide_in_sum),
        "divided by a factor": exact(mesh, lambda module: module.set_gradient_divide_factor(5.0)),
        "NaN": not_finite(mesh),
        "learned": learned(mesh),
        "accumulated": accumulated(mesh),
        "unused": unused(mesh),
        "refusals": refusals(mesh),
    }


def of_four(mesh: DeviceMesh) -> dict[str, Any]:
    replicas = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replica", "shard"))
    return {"codes": compressed(mesh), "replicas": compressed(replicas)}


def one_rank(rank: int, ranks: int, folder: Path) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{ranks}", rank=rank, world_size=ranks)
    seen = {2: of_two, 3: of_three, 4: of_four}[ranks](init_device_mesh("cpu", (ranks,)))
    torch.save(seen, folder / f"{ranks}-{rank}.pt")
    dist.destroy_process_group()


def main(folder: Path) -> None:
    """Run the worlds one after the other; ranks are forked, since imports take seconds."""
    for quantizer in (codes(), QSGD(8, 64), ALQ(3, 64)):
        quantizer.dequantize(quantizer.quantize(torch.ones(64)))  # kernels are loaded once, too
    torch.compiler.reset()  # and so is the compiler, which fully_shard imports without using it
    fork = multiprocessing.get_context("fork")
    for ranks in WORLDS:
        processes = [fork.Process(target=one_rank, args=(rank, ranks, folder)) for rank in range(ranks)]
        for process in processes:
            process.start()
        waited = {process.sentinel: process for process in processes}
        while waited:
            for sentinel in multiprocessing.connection.wait(list(waited)):
                ended = waited.pop(sentinel)
                ended.join()
                if ended.exitcode:  # the others would wait for it for half an hour
                    for process in waited.values():
                        process.kill()
                    sys.exit(f"with {ranks} ranks, one ended with {ended.exitcode}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
