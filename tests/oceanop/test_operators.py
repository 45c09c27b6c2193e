"""Laws both operators keep: one signature, land without influence, seeds, safe weights, precision, memory."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oceanop import FNO, FNOtD
from oceanop.operators.inputs import window_channels

ROWS, COLUMNS, HISTORY, HORIZON = 9, 12, 4, 6


@pytest.fixture(autouse=True, params=[0, 10**9], ids=["in the cache", "chained"])
def few_points(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Up to how many points layers are chains of operations, as all are on a GPU."""
    monkeypatch.setattr("oceanop.operators.layer.FEW_POINTS", request.param)
    return int(request.param)


CHANNELS = {"state_channels": 2, "forcing_channels": 2, "static_channels": 3}
SIZES: dict[str, Any] = {**CHANNELS, "history": HISTORY, "horizon": HORIZON, "width": 8, "layers": 2}


def make_fno(seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return FNO(**{**SIZES, "modes": (4, 4), **options})


def make_fnotd(seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return FNOtD(**{**SIZES, "modes": (3, 4, 4), "padding": (1, 2, 0), **options})


def make_patched(seed: int = 0, **options: Any) -> nn.Module:
    return make_fnotd(seed, **{"patch": 2, **options})


@pytest.fixture(params=[make_fno, make_fnotd, make_patched], ids=["FNO", "FNOtD", "FNOtD in patches"])
def make(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    return request.param


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    history = torch.randn(2, 2, HISTORY, ROWS, COLUMNS, generator=generator)
    forcing = torch.randn(2, 2, HISTORY + HORIZON, ROWS, COLUMNS, generator=generator)
    static = torch.randn(3, ROWS, COLUMNS, generator=generator)
    static[0] = (torch.rand(ROWS, COLUMNS, generator=generator) > 0.4).float()
    return history, forcing, static


def test_one_window_has_the_shape_of_the_horizon(make: Callable[..., nn.Module], inputs: tuple) -> None:
    assert make()(*inputs).shape == (2, 2, HORIZON, ROWS, COLUMNS)


@pytest.mark.parametrize("junk", [1e6, float("nan"), float("inf")])
def test_land_never_reaches_the_ocean(make: Callable[..., nn.Module], inputs: tuple, junk: float) -> None:
    history, forcing, static = inputs
    model = make()
    changed = torch.where(static[0] > 0.5, history, junk)
    assert torch.equal(model(history, forcing, static), model(changed, forcing, static))


def test_land_is_zero(make: Callable[..., nn.Module], inputs: tuple) -> None:
    future = make()(*inputs)
    assert torch.equal(future[..., inputs[2][0] < 0.5], torch.zeros_like(future[..., inputs[2][0] < 0.5]))


def test_gradients_are_finite_with_nan_on_land(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    history = torch.where(static[0] > 0.5, history, torch.nan)
    model(history, forcing, static).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_every_weight_is_used(make: Callable[..., nn.Module], inputs: tuple) -> None:
    model = make()
    # Gates begin as exactly one: their first layer learns only once the second has moved.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model(*inputs).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_same_seed_same_weights_same_output(make: Callable[..., nn.Module], inputs: tuple) -> None:
    assert torch.equal(make(3)(*inputs), make(3)(*inputs))
    assert not torch.equal(make(3)(*inputs), make(4)(*inputs))


def test_weights_travel_through_safe_files(make: Callable[..., nn.Module], inputs: tuple) -> None:
    model, other = make(0), make(1)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(model(*inputs), other(*inputs))


def test_future_forcing_and_the_past_both_matter(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    base = model(history, forcing, static)
    later = forcing.clone()
    later[:, :, -1] += 1
    earlier = history.clone()
    earlier[:, :, 0] += 1
    assert not torch.equal(base, model(history, later, static))
    assert not torch.equal(base, model(earlier, forcing, static))


def test_a_patch_holds_all_its_steps_and_the_time_of_the_last(inputs: tuple) -> None:
    history, forcing, static = inputs
    steps = window_channels(history, forcing, static, HORIZON)
    patches = window_channels(history, forcing, static, HORIZON, patch=2)
    assert patches.shape == (2, (HISTORY + HORIZON) // 2, ROWS, COLUMNS, 2 * (2 + 2) + 3 + 2)
    for step in range(2):
        assert torch.equal(patches[..., 4 * step : 4 * step + 4], steps[:, step::2, ..., :4])
    assert torch.equal(patches[..., 8:], steps[:, 1::2, ..., 4:])


def test_every_hour_reaches_a_forecast_in_patches_and_none_of_it_is_lost(inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make_patched(padding=(0, 0, 0))
    base = model(history, forcing, static)
    for number, part in enumerate((history, forcing)):
        for step in range(part.shape[2]):
            changed = [history.clone(), forcing.clone(), static]
            changed[number][:, :, step] += 1
            moved = (model(*changed) - base).abs().amax((0, 1, 3, 4))
            assert (moved > 0).all(), f"{number}, {step}"  # in each hour of the forecast


@pytest.mark.parametrize(("history", "horizon"), [(3, 6), (4, 5)])
def test_a_window_that_is_no_multiple_of_the_patch_is_refused(history: int, horizon: int) -> None:
    with pytest.raises(
        ValueError, match=rf"patch is 2, and a window has {history} past and {horizon} future"
    ):
        make_patched(history=history, horizon=horizon)


def test_batch_members_do_not_mix(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    alone = model(history[:1], forcing[:1], static)
    # float32: a batch of another size may be summed in another order
    torch.testing.assert_close(model(history, forcing, static)[:1], alone, rtol=1e-4, atol=1e-5)


def test_another_grid_size_runs_with_the_same_weights(make: Callable[..., nn.Module]) -> None:
    static = torch.ones(3, 14, 17)
    future = make()(torch.randn(1, 2, HISTORY, 14, 17), torch.randn(1, 2, HISTORY + HORIZON, 14, 17), static)
    assert future.shape == (1, 2, HORIZON, 14, 17)
    assert torch.isfinite(future).all()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_wrong_shape_is_named(make: Callable[..., nn.Module], inputs: tuple, index: int) -> None:
    wrong = list(inputs)
    wrong[index] = wrong[index][:, :-1] if index < 2 else wrong[index][:-1]
    with pytest.raises(ValueError, match=f"{('history', 'forcing', 'static')[index]} has shape .* expects"):
        make()(*wrong)


def test_gates_open_at_one(make: Callable[..., nn.Module], inputs: tuple) -> None:
    gated, plain = make(gate=True), make(1, gate=False)
    weights = {name: value for name, value in gated.state_dict().items() if "gate" not in name}
    plain.load_state_dict(weights)
    # float32: a gated sum is rounded once more, in each of two layers
    torch.testing.assert_close(gated(*inputs), plain(*inputs), rtol=1e-5, atol=1e-5)


def test_every_parameter_is_a_real_float32_tensor_and_spectra_are_mode_major(
    make: Callable[..., nn.Module],
) -> None:
    model = make()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    spectral = [p.shape for p in model.parameters() if p.shape[-1] == 2 and p.ndim > 4]
    assert spectral == 2 * [(4, 3, 8, 8, 2) if isinstance(model, FNO) else (3, 4, 3, 8, 8, 2)]
    assert all(isinstance(value, Tensor) for value in model.state_dict().values())


@pytest.mark.parametrize("plane", [(9, 11), (10, 12)])
def test_a_shifted_sea_has_the_shifted_forecast(
    make: Callable[..., nn.Module], plane: tuple[int, int]
) -> None:
    # Without padding the sea is periodic, on grids of odd size as well.
    model = make(**({} if make is make_fno else {"padding": (1, 0, 0)})).double()
    history = torch.randn(1, 2, HISTORY, *plane, dtype=torch.float64)
    forcing = torch.randn(1, 2, HISTORY + HORIZON, *plane, dtype=torch.float64)
    static = torch.rand(3, *plane, dtype=torch.float64).round()
    inputs = history, forcing, static
    moved = [torch.roll(field, (2, 3), (-2, -1)) for field in inputs]
    torch.testing.assert_close(
        model(*moved), torch.roll(model(*inputs), (2, 3), (-2, -1)), rtol=1e-11, atol=1e-11
    )


def test_fno_is_neuraloperators_fno() -> None:
    # Even rows: on odd ones neuraloperator 2.0.0 shifts the spectrum wrongly.
    from neuralop.models import FNO as NeuralopFNO

    ours = make_fno(layers=3)
    network = ours.network
    theirs = NeuralopFNO(
        n_modes=(4, 4),
        in_channels=network.in_channels,
        out_channels=network.out_channels,
        hidden_channels=8,
        n_layers=3,
        positional_embedding=None,
    )

    def name_in_theirs(name: str) -> str:
        return name.replace("spectral.weight", "weight.tensor")

    def as_theirs(name: str, value: Tensor) -> Tensor:
        if not name.endswith("spectral.weight"):
            return value
        return torch.view_as_complex(value.permute(2, 3, 0, 1, 4).contiguous())

    peer = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, value in network.named_parameters():
            peer.pop(name_in_theirs(name)).copy_(as_theirs(name, value))
    assert not peer
    history, forcing = torch.randn(2, 2, HISTORY, 10, 12), torch.randn(2, 2, HISTORY + HORIZON, 10, 12)
    static = torch.ones(3, 10, 12)
    joined = torch.cat(
        [history.flatten(1, 2), forcing.flatten(1, 2), static[None].expand(2, -1, -1, -1)], dim=1
    )
    expected = history[:, :, -1:] + theirs(joined).unflatten(1, (2, HORIZON))
    result = ours(history, forcing, static)
    # float32, three layers of sums of some hundred terms
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    probe = torch.randn_like(result)
    (result * probe).sum().backward()
    (expected * probe).sum().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    for name, value in network.named_parameters():
        peer_gradient = gradients[name_in_theirs(name)]
        # relative to the largest: each entry is a sum over 240 points in float32
        torch.testing.assert_close(
            as_theirs(name, value.grad),
            peer_gradient,
            rtol=1e-4,
            atol=1e-5 * peer_gradient.abs().max().item(),
        )


def test_bfloat16_autocast_rounds_the_pointwise_half_alone(
    make: Callable[..., nn.Module], inputs: tuple
) -> None:
    history, forcing, static = inputs
    model = make()
    plain = model(*inputs)
    plain.square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(history, forcing, static)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, plain)
    last = history[:, :, -1:] * (static[0] > 0.5)
    # bfloat16 rounds by at most 2^-8, root mean square 0.4 of that. Some ten products lie in a row, each with three
    # roundings (input, weight, result) that are independent: 0.4 * 2^-8 * sqrt(30) = 0.9 %, taken twice.
    assert (mixed - plain).norm() < 0.018 * (plain - last).norm()
    mixed.square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() and g.dtype == torch.float32 for g in gradients)
    # The way back is as long again: sqrt(2) times that.
    whole, other = (torch.cat([g.flatten() for g in part]) for part in (expected, gradients))
    assert (other - whole).norm() < 0.025 * whole.norm()


def test_fnotd_sums_its_layers_in_float32_under_autocast(inputs: tuple) -> None:
    model = make_fnotd()
    seen: list[torch.dtype] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, given, result: seen.extend([given[0].dtype, result.dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(*inputs)
    assert seen == 4 * [torch.float32]


def loss_and_gradients(model: nn.Module, inputs: tuple, *, mixed: bool) -> tuple[Tensor, list[Tensor]]:
    """Two windows in a row, so that each layer is recomputed for two calls."""
    history, forcing, static = inputs
    torch.manual_seed(11)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        first = model(history, forcing, static)
        second = model(first[:, :, -HISTORY:], forcing, static)
        loss = (first.square().sum() + second.square().sum()).float()
    return loss, list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "autocast"])
def test_recomputed_activations_give_the_same_loss_and_gradients_bit_for_bit(
    make: Callable[..., nn.Module], inputs: tuple, mixed: bool
) -> None:
    kept, recomputed = (make(checkpoint_activations=flag).train() for flag in (False, True))
    expected = loss_and_gradients(kept, inputs, mixed=mixed)
    result = loss_and_gradients(recomputed, inputs, mixed=mixed)
    assert torch.equal(result[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(result[1], expected[1], strict=True))


def bytes_kept(model: nn.Module, inputs: tuple) -> int:
    """Memory the forward pass holds for the backward pass beside the weights, each storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage  # held, so that no address is given out twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(*inputs)
    assert output.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


CACHED, CHAINED = (
    pytest.mark.parametrize("few_points", [points], indirect=True, ids=[name])
    for points, name in ((0, "in the cache"), (10**9, "chained"))
)


@CHAINED
def test_recomputing_keeps_less_than_half_of_the_memory(
    make: Callable[..., nn.Module], inputs: tuple
) -> None:
    # Wide enough that the layers, not the inputs, are most of it.
    kept, recomputed = (make(layers=4, width=32, checkpoint_activations=flag) for flag in (False, True))
    assert 2 * bytes_kept(recomputed.train(), inputs) < bytes_kept(kept.train(), inputs)


@CACHED
def test_in_the_cache_a_layer_keeps_little_more_than_its_input(make: Callable[..., nn.Module]) -> None:
    plane = 30, 40
    steps = HISTORY + HORIZON
    inputs = torch.randn(1, 2, HISTORY, *plane), torch.randn(1, 2, steps, *plane), torch.ones(3, *plane)
    kept = {layers: bytes_kept(make(width=32, layers=layers, gate=False), inputs) for layers in (1, 3)}
    padded = 32 * 40  # rows and columns of FNOtD, whose time axis has a point of padding too
    points = {make_fno: 30 * 40, make_fnotd: (steps + 1) * padded, make_patched: (steps // 2 + 1) * padded}
    field = 4 * 32 * points[make]
    # Beside it the coefficients of the rows, 6 for 40 points, and spectra of a few modes; a chain keeps ten fields.
    assert kept[3] - kept[1] < 2 * 1.4 * field


@CHAINED
def test_only_training_recomputes(make: Callable[..., nn.Module], inputs: tuple) -> None:
    recomputed = make(checkpoint_activations=True)
    plain = make()
    assert bytes_kept(recomputed.eval(), inputs) == bytes_kept(plain.eval(), inputs)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(recomputed).train()(*inputs), plain(*inputs))
