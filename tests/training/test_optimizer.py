"""Each optimizer of a run learns, resumes to the bit, and does on many ranks what its formulas say of many workers.

Started by torchrun, this file is also what each rank does; the claims are in the tests.
"""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from oceanop.checkpoint import load_checkpoint
from oceanop.config import Run, TrainingConfig, parse_run
from training import join, train, trainer
from training.averaging import MovingAverage
from training.compression.assignment import EXACT
from training.compression.dispersion import decode_sent
from training.compression.exchange import Exchange
from training.compression.feedback import Feedback
from training.compression.plan import Span, plan
from training.compression.quantizers import QSGD
from training.optimizer import Descent, Gradient
from training.parallel import Ranks

ROOT = Path(__file__).resolve().parents[2]

METHODS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw"},
    "sgdem": {"optimizer": "sgdem", "momentum_steps": 8},
    "dual averaging": {"optimizer": "qgenx", "variant": "dual-averaging"},
    "dual extrapolation": {"optimizer": "qgenx", "variant": "dual-extrapolation"},
    "optimistic": {"optimizer": "qgenx"},
    "adaptive": {"optimizer": "qoda"},
    "alternative": {"optimizer": "qoda", "rates": "alternative"},
}
every_method = pytest.mark.parametrize("name", METHODS)


class Stopped(Exception):
    """As if the process had ended here."""


def run_with(name: str, *, compression: dict[str, Any] | None = None, **training: Any) -> Run:
    """A run of seconds."""
    table: dict[str, Any] = {
        "model": {
            "name": "FNOtD",
            "history": 3,
            "horizon": 3,
            "modes": [4, 2, 4],
            "width": 8 if compression is None else 16,  # of which spectral weights are large enough for codes
            "layers": 2,
        },
        "training": {
            "steps": 6,
            "batch_size": 4,
            "validate_every": 6,
            "checkpoint_every": 3,
            "threads": 1,
            **METHODS[name],
            **training,
        },
        "compression": compression or {},
    }
    if table["training"]["optimizer"] in ("adamw", "sgdem"):
        table["training"] |= {"warmup_steps": 2}
    return parse_run(table)


def stopped(run: Run, store: Path, to: Path, step: int) -> None:
    def progress(words: str, done: int, total: int) -> None:
        if done == step:
            raise Stopped

    with pytest.raises(Stopped):
        train(run, store, to, progress=progress)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def steps(run: Path, what: str) -> list[float]:
    return [row[what] for row in rows(run) if "loss" in row]


def weights(run: Path) -> dict[str, Tensor]:
    """As the last step left them, not their average."""
    state = load_checkpoint(run / "checkpoints" / "last").training
    assert state is not None
    return state["step"]


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit, and also all that was logged, but for times."""
    ours, theirs = weights(a), weights(b)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    timed = ("seconds", "samples_per_second", "wait_seconds", "communication_seconds")
    told, others = ([{k: v for k, v in row.items() if k not in timed} for row in rows(run)] for run in (a, b))
    assert told == others


def assert_same_to_rounding(a: Path, b: Path) -> None:
    # Sums in another order part by some 1e-7 of a weight in these few steps; another window or rate by 1e-3.
    ours, theirs = weights(a), weights(b)
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(steps(a, "loss"), steps(b, "loss"), rtol=1e-5)


EIGHT_BITS = {"method": "qsgd", "bits": 8, "warmup_steps": 3}
ALONE = ("sgdem", "dual extrapolation", "adaptive", "alternative")
RUNS = {
    **{name: run_with(name) for name in ALONE},
    "dual extrapolation of the same": run_with("dual extrapolation", compression={"method": "off"}),
    "dual extrapolation in codes": run_with("dual extrapolation", compression=EIGHT_BITS),
    "adaptive in codes": run_with("adaptive", compression={**EIGHT_BITS, "error_feedback": True}),
}
RESUMED = ("sgdem", "dual extrapolation in codes", "adaptive in codes")


@every_method
def test_each_optimizer_learns(store: Path, tmp_path: Path, name: str) -> None:
    run = run_with(name, steps=40, windows=1, noise=0.0, validate_every=40, checkpoint_every=40)
    train(run, store, tmp_path / "run")
    losses = steps(tmp_path / "run", "loss")
    # Batches of this wave differ by 1%; the slowest, gradient descent that has lost its momentum, takes off 14%.
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@every_method
def test_each_optimizer_resumes_bit_for_bit(store: Path, tmp_path: Path, name: str) -> None:
    run = run_with(name)
    train(run, store, tmp_path / "whole")
    stopped(run, store, tmp_path / "run", 4)  # after the checkpoint of step 3, at the turn to two windows
    train(run, store, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_another_optimizer_does_not_take_up_a_run(store: Path, tmp_path: Path) -> None:
    stopped(run_with("adaptive"), store, tmp_path / "run", 4)
    for other in ("adamw", "optimistic", "alternative"):
        with pytest.raises(
            ValueError, match=r"was begun with other settings \(.*training\.(optimizer|rates) was"
        ):
            train(run_with(other), store, tmp_path / "run", resume=True)


class Bowl:
    """Half the square of one weight: its gradient is the weight."""

    def __init__(self, name: str, *, ranks: int = 1, **training: Any) -> None:
        self.weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        config = TrainingConfig.model_validate({**METHODS[name], **training})
        self.descent = Descent([self.weight], config, ranks=ranks)
        self.asked: list[float] = []

    def gradient(self) -> Gradient:
        self.asked.append(self.weight.item())
        self.weight.grad = self.weight.detach().clone()
        return Gradient(self.weight.item() ** 2 / 2, self.weight.item(), None, stop=False)


def test_dual_extrapolation_asks_for_a_gradient_where_it_is_and_one_where_it_looks() -> None:
    bowl = Bowl("dual extrapolation", learning_rate=0.25)
    found, rate = bowl.descent.step(0, bowl.gradient)
    assert bowl.asked == [2.0, 1.5]  # 2 - 0.25 * 2
    assert found.loss == 1.5**2 / 2
    assert rate == pytest.approx(0.25 / (1 + 0.5**2) ** 0.5, rel=1e-15)
    assert bowl.weight.item() == pytest.approx(2 - rate * 1.5, rel=1e-15)


@pytest.mark.parametrize("name", ["dual averaging", "optimistic", "adaptive", "alternative"])
def test_the_other_optimizers_that_look_ahead_ask_once_a_step(name: str) -> None:
    bowl = Bowl(name, learning_rate=0.25)
    bowl.descent.step(0, bowl.gradient)
    assert bowl.asked == [2.0]  # there is nothing yet to follow
    bowl.descent.step(1, bowl.gradient)
    assert len(bowl.asked) == 2


def test_momentum_ends_after_its_steps() -> None:
    bowl = Bowl("sgdem", learning_rate=0.1, steps=10**9, warmup_steps=0, momentum_steps=2, weight_decay=0.0)
    points = [2.0]
    for number in range(4):
        bowl.descent.step(number, bowl.gradient)
        points.append(bowl.weight.item())
    moves = np.diff(points)
    gradients = np.array(points[:-1])
    # rate 0.1, momentum 0.9 of the first move in the second step, and none later; the cosine has not begun to fall
    expected = -0.1 * gradients + np.array([0, 0.9 * moves[0], 0, 0])
    np.testing.assert_allclose(moves, expected, rtol=1e-12)


def test_momentum_lasts_to_the_end_unless_told() -> None:
    bowl = Bowl("sgdem", steps=7, momentum_steps=None)
    assert bowl.descent.optimizer.param_groups[0]["momentum_until"] == 7


def test_steps_that_adapt_are_not_clipped_and_the_others_are() -> None:
    largest = {name: Bowl(name).descent.largest_norm for name in METHODS}
    assert largest == {name: 1.0 if name in ("adamw", "sgdem") else np.inf for name in METHODS}


def test_steps_that_adapt_go_on_with_as_many_ranks_only() -> None:
    one, two = Bowl("adaptive"), Bowl("adaptive", ranks=2)
    with pytest.raises(
        ValueError,
        match=r"^training\.optimizer 'qoda' makes its steps of what each rank sends, and the run was begun with 2 "
        r"ranks, not 1; resume with as many ranks\.$",
    ):
        one.descent.load_state_dict(two.descent.state_dict(), ranks=2)
    ball = Bowl("sgdem")
    ball.descent.load_state_dict(Bowl("sgdem", ranks=2).descent.state_dict(), ranks=2)


class TwoWorkers:
    """In place of the communication of two ranks: one process takes both halves of a batch, one after the other."""

    def __init__(
        self, objective: nn.Module, ranks: Ranks, *_: Any, dispersion: str | None, **__: Any
    ) -> None:
        self.objective, self.reference = objective, dispersion
        self.choice = None
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.before: list[list[Tensor]] | None = None
        self.told: float | None = None

    def close(self) -> None:
        """Nothing runs beside it."""

    def module(self, *batch: Tensor) -> Tensor:
        losses = [self.objective(*(tensor[rank::2] for tensor in batch)) for rank in (0, 1)]
        vectors = [list(torch.autograd.grad(loss, self.parameters, retain_graph=True)) for loss in losses]
        if self.reference is not None:
            before = self.before or [[torch.zeros_like(part) for part in vectors[0]]] * 2
            self.told = sum(
                torch.linalg.vector_norm(a - b).item() ** 2
                for now, then in zip(vectors, before, strict=True)
                for a, b in zip(now, then, strict=True)
            )
            keeps = self.reference == "last" or (self.reference == "pair" and self.before is None)
            self.before = vectors if keeps else None
        return (losses[0] + losses[1]) / 2

    def part(self, *, last: bool) -> Any:
        return nullcontext()

    def dispersion(self) -> float | None:
        return self.told

    def measure_modes(self) -> None: ...

    def spent(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> None:
        return None


@pytest.fixture(scope="module")
def ranks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two ranks."""
    to = tmp_path_factory.mktemp("ranks")
    launch = ["--standalone", "--no-python", "--nproc-per-node=2", "--max-restarts=0", sys.executable]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launch, __file__, str(store), str(to)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return to


@pytest.mark.parametrize("name", ALONE)
def test_two_ranks_are_the_two_workers_of_the_formulas(
    ranks: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trainer, "Communication", TwoWorkers)
    monkeypatch.setattr(
        trainer, "Descent", lambda parameters, training, *, ranks: Descent(parameters, training, ranks=2)
    )
    train(run_with(name), store, tmp_path / "simulated")
    assert_same_to_rounding(ranks / name, tmp_path / "simulated")
    np.testing.assert_allclose(steps(ranks / name, "lr"), steps(tmp_path / "simulated", "lr"), rtol=1e-5)
    if name == "sgdem":
        assert "dispersion" not in rows(ranks / name)[0]
    else:
        np.testing.assert_allclose(
            steps(ranks / name, "dispersion"), steps(tmp_path / "simulated", "dispersion"), rtol=1e-4
        )


def test_gradient_descent_on_two_ranks_is_that_of_one(ranks: Path, store: Path, tmp_path: Path) -> None:
    train(run_with("sgdem"), store, tmp_path / "one")
    assert_same_to_rounding(ranks / "sgdem", tmp_path / "one")


def test_all_ranks_hold_the_same_weights(ranks: Path) -> None:
    one, other = (json.loads((ranks / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert len(set(one.values())) == len(RUNS)  # none of which is another


@pytest.mark.parametrize("name", RESUMED)
def test_ranks_resume_bit_for_bit(ranks: Path, name: str) -> None:
    assert_same(ranks / f"{name}, resumed", ranks / name)


@pytest.mark.parametrize("name", ["coded", "fed back"])
def test_the_vectors_that_are_measured_are_those_that_went_into_the_mean(ranks: Path, name: str) -> None:
    one, other = (torch.load(ranks / f"{name}-{rank}.pt") for rank in (0, 1))
    assert torch.equal(one["mean"], other["mean"])
    # float32 sums of two numbers below 4; the mean went back in float32, so that nothing else parts them
    torch.testing.assert_close((one["sent"] + other["sent"]) / 2, one["mean"], rtol=0, atol=1e-6)
    for each in (one, other):
        half = len(each["own"]) // 2
        coded = (each["sent"] != each["own"]).reshape(2, half).float().mean(1)
        # what a rank averages itself stays, of the rest only the largest of a bucket hits a level
        assert sorted(coded.tolist()) == [0.0, pytest.approx(1.0, abs=0.01)]


def test_the_dispersion_knows_what_codes_have_lost(ranks: Path) -> None:
    exact, coded = (
        steps(ranks / f"dual extrapolation {words}", "dispersion") for words in ("of the same", "in codes")
    )
    assert coded[:3] == exact[:3]  # in float32 first
    # The fourth step has gradients at the same weights. Next to nothing of their square belongs to the spectral
    # weights, the only ones in codes; without what these lose it would be equal to the bit.
    assert 0 < abs(coded[3] / exact[3] - 1) < 1e-3


def test_two_gradients_a_step_cost_twice_the_bytes(ranks: Path) -> None:
    one, two = (steps(ranks / name, "bytes_sent") for name in ("adaptive", "dual extrapolation"))
    assert [2 * sent for sent in one] == two
    coded = steps(ranks / "dual extrapolation in codes", "bytes_sent")
    assert coded[0] == coded[2] > 2 * coded[3] == 2 * coded[-1] > 0  # three steps in float32, six exchanges
    bits = steps(ranks / "dual extrapolation", "effective_bits")
    np.testing.assert_allclose(bits, 32, rtol=1e-3)


def exchange(ranks: Ranks, to: Path) -> None:
    """Average a vector that goes up in codes of 8 bits and back in float32."""
    for number, (name, feedback) in enumerate({"coded": None, "fed back": Feedback()}.items()):
        own = torch.randn(4096, generator=torch.Generator().manual_seed(2 * number + ranks.rank))
        exchange = Exchange(dist.group.WORLD, ranks.device, seed=0, feedback=feedback)
        segments = plan([Span(0, 0, len(own), QSGD(8, 128).codec, EXACT)], ranks.world_size)
        messages = [exchange.messages(segment) for segment in segments]
        mean, sent = own.clone(), own.clone()
        exchange.average(mean, segments, messages, step=0)
        decode_sent(segments, messages, sent)
        torch.save({"own": own, "mean": mean, "sent": sent}, to / f"{name}-{ranks.rank}.pt")


def main() -> None:
    """``test_optimizer.py STORE OUT``, on each rank."""
    store, to = map(Path, sys.argv[1:])
    warnings.simplefilter("error")
    held: list[nn.Module] = []

    class Recorded(MovingAverage):
        def __init__(self, module: nn.Module, decay: float) -> None:
            super().__init__(module, decay)
            held.append(module)

    trainer.MovingAverage = Recorded  # type: ignore[misc]
    digests = {}
    with join() as ranks:
        for name, run in RUNS.items():
            train(run, store, to / name)
            parameters = torch.cat(
                [
                    torch.view_as_real(p).flatten() if p.is_complex() else p.flatten()
                    for p in held[-1].parameters()
                ]
            )
            digests[name] = hashlib.sha256(parameters.detach().numpy().tobytes()).hexdigest()
        for name in RESUMED:
            stopped(RUNS[name], store, to / f"{name}, resumed", 4)
            train(RUNS[name], store, to / f"{name}, resumed", resume=True)
        exchange(ranks, to)
    (to / f"rank-{ranks.rank}.json").write_text(json.dumps(digests))


if __name__ == "__main__":
    main()
