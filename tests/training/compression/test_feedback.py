"""Error feedback: nothing is lost but delayed, whatever the quantizer; and what is owed stays bounded."""

import io

import pytest
import torch
from torch import Tensor

from tests.training.compression.simulation import gradient_of
from training.compression import ALQ, NUQSGD, QSGD, Cast, Quantizer, Ternary
from training.compression.codec import Buckets
from training.compression.feedback import Feedback
from training.compression.plan import Share, Span

COUNT = 1_000
UP, DOWN = 0, 1
QUANTIZERS = {
    "2 bits": QSGD(2, 64),
    "4 bits": NUQSGD(4, 256, "l2", norm_dtype="bfloat16"),
    "without zero": QSGD(4, 64, zero=False),
    "8 bits": QSGD(8, 128),
    "learned": ALQ(3, 128),
}
each = pytest.mark.parametrize("name", QUANTIZERS)


class Sender:
    """One share of one parameter, sent step by step."""

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        count: int = COUNT,
        parameter: int = 0,
        feedback: Feedback | None = None,
    ):
        self.codec = quantizer.codec
        span = Span(parameter, 0, count, self.codec, self.codec)
        self.share = Share(span, 0, 0, count)
        self.feedback = feedback or Feedback()
        self.step = 0

    def send(self, values: Tensor, way: int = UP) -> Tensor:
        message = torch.zeros(self.codec.nbytes(len(values)), dtype=torch.uint8)
        self.feedback.encode(self.share, way, self.codec, values, message, key=self.step, first_bucket=0)
        self.step += 1
        out = torch.empty_like(values)
        self.codec.decode(message, out)
        return out

    def owed(self, way: int = UP) -> Tensor:
        return self.feedback.error(way, self.share.span.parameter)[0]


def sent_once(codec: Buckets, values: Tensor, key: int) -> Tensor:
    message = torch.zeros(codec.nbytes(len(values)), dtype=torch.uint8)
    codec.encode(values, message, key=key)
    out = torch.empty_like(values)
    codec.decode(message, out)
    return out


@each
def test_what_was_sent_and_what_is_owed_are_all_gradients(name: str):
    sender, steps = Sender(QUANTIZERS[name]), 50
    given, sent = torch.zeros(COUNT, dtype=torch.float64), torch.zeros(COUNT, dtype=torch.float64)
    largest = 0.0
    for step in range(steps):
        gradient = gradient_of(0, COUNT, seed=step)
        given += gradient
        sent += sender.send(gradient)
        largest = max(largest, float((sender.owed() + gradient).abs().max()))
        # two roundings of float32 in each step, of numbers as large as what is owed and sent
        assert (sent + sender.owed() - given).abs().max() <= 2 * (step + 1) * 2.0**-23 * (
            largest + sent.abs().max()
        )


@each
def test_the_values_themselves_are_left_alone(name: str):
    sender, gradient = Sender(QUANTIZERS[name]), gradient_of(0, COUNT)
    sender.send(gradient)
    assert torch.equal(gradient, gradient_of(0, COUNT))


def test_what_is_owed_stays_below_the_bound_where_the_variance_is_far_above_one():
    """``|e|^2 <= 4 (1 - d) / d^2 |g|^2`` with ``d = 1 / (1 + w)``: Karimireddy et al. 2019, Lemma 3."""
    quantizer = Ternary(512, "l2")
    gradients = [torch.randn(512, generator=torch.Generator().manual_seed(step)) for step in range(300)]
    variance = float(quantizer.expected_error(gradients[0]).sum() / gradients[0].square().sum())
    assert variance > 10
    contraction = 1 / (1 + variance)
    bound = 4 * (1 - contraction) / contraction**2 * 512
    sender, owed, plain = Sender(quantizer, count=512), [], torch.zeros(512)
    for step, gradient in enumerate(gradients):
        sender.send(gradient)
        owed.append(float(sender.owed().square().sum()))
        if (
            step < 40
        ):  # the same without the factor 1 / (1 + w): each step multiplies the error by the root of w
            aim = gradient + plain
            plain = aim - sent_once(quantizer.codec, aim, key=step)
    assert sum(owed[100:]) / 200 < bound
    assert plain.square().sum() > 1e6 * bound


def test_the_factor_follows_the_variance_that_is_measured():
    quantizer, gradient = QSGD(3, 64), torch.randn(64 * 500, generator=torch.Generator().manual_seed(0))
    sender = Sender(quantizer, count=len(gradient))
    variance = float(quantizer.expected_error(gradient).sum() / gradient.double().square().sum())
    first = sender.send(gradient)  # as if the variance were one
    # the noise of 32,000 numbers, summed with weights near one
    assert float(first @ gradient / (gradient @ gradient)) == pytest.approx(1 / 2, rel=0.02)
    aim = gradient + sender.owed()
    second = sender.send(gradient)
    assert float(second @ aim / (aim @ aim)) == pytest.approx(1 / (1 + variance), rel=0.02)


def descent(quantizer: Quantizer, *, fed_back: bool) -> float:
    """Distance to the aim after descent with a gradient in which one coordinate swings a hundred times as far.

    The mean of the last half of the squared distances of the other coordinates.
    """
    aim = torch.linspace(-1, 1, 64)
    x, sender, distances = torch.zeros(64), Sender(quantizer, count=64), []
    for step in range(2_000):
        gradient = x - aim
        gradient[0] = 100.0 * (-1) ** step
        sent = sender.send(gradient) if fed_back else sent_once(quantizer.codec, gradient, key=step)
        x[1:] -= 0.02 * sent[1:]
        if step >= 1_000:
            distances.append(float((x - aim)[1:].square().mean()))
    return sum(distances) / len(distances)


def test_a_small_gradient_beside_a_large_one_reaches_its_aim_only_where_errors_are_fed_back():
    plain, fed_back = (descent(Ternary(64), fed_back=fed) for fed in (False, True))
    assert fed_back < plain / 3


def test_what_is_not_finite_is_sent_once_and_not_owed():
    sender = Sender(QSGD(2, 64))
    sender.send(gradient_of(0, COUNT))
    before = sender.owed().clone()
    for bad in (float("nan"), float("inf")):
        broken = gradient_of(1, COUNT)
        broken[70] = bad
        out = sender.send(broken)
        assert out[64:128].isnan().all()
        assert out[:64].isfinite().all()
        assert sender.owed().isfinite().all()
        assert (sender.owed()[64:128] == 0).all()  # the bucket begins anew; others still owe what they did
        assert not torch.equal(sender.owed()[:64], before[:64])
        assert sender.send(gradient_of(2, COUNT)).isfinite().all()


def test_zeros_owe_nothing():
    sender = Sender(QSGD(2, 64))
    assert (sender.send(torch.zeros(COUNT)) == 0).all()
    assert (sender.owed() == 0).all()


def test_debts_are_paid_when_no_gradient_comes_any_more():
    sender, gradient = Sender(QSGD(4, 64)), gradient_of(0, COUNT)
    sent = sender.send(gradient).double()
    for _ in range(60):
        sent += sender.send(torch.zeros(COUNT))
    # float32 roundings of numbers up to a hundred
    torch.testing.assert_close(sent, gradient.double(), rtol=0, atol=1e-4)


def test_ways_and_parameters_and_shares_owe_by_themselves():
    shared = Feedback()
    senders = [Sender(QSGD(2, 64), parameter=number, feedback=shared) for number in range(2)]
    for number, sender in enumerate(senders):
        sender.send(gradient_of(number, COUNT))
    owed = [sender.owed().clone() for sender in senders]
    senders[0].send(gradient_of(5, COUNT), way=DOWN)
    assert torch.equal(senders[0].owed(), owed[0])
    assert torch.equal(senders[1].owed(), owed[1])
    assert not torch.equal(senders[0].owed(DOWN), owed[0])
    later = Share(senders[0].share.span, COUNT, COUNT, 10)
    codec = senders[0].codec
    message = torch.zeros(codec.nbytes(10), dtype=torch.uint8)
    shared.encode(later, UP, codec, torch.ones(10), message, key=0, first_bucket=16)
    assert {first: len(error) for first, error in shared.error(UP, 0).items()} == {0: COUNT, COUNT: 10}
    assert torch.equal(senders[0].owed(), owed[0])


@each
def test_what_is_owed_comes_back_from_a_file(name: str):
    sender, file = Sender(QUANTIZERS[name]), io.BytesIO()
    for step in range(3):
        sender.send(gradient_of(0, COUNT, seed=step))
    torch.save(sender.feedback.state_dict(), file)
    file.seek(0)
    fresh = Sender(QUANTIZERS[name])
    fresh.feedback.load_state_dict(torch.load(file, weights_only=True))
    fresh.step = sender.step
    for step in range(3, 6):
        gradient = gradient_of(0, COUNT, seed=step)
        assert torch.equal(fresh.send(gradient), sender.send(gradient))
    assert torch.equal(fresh.owed(), sender.owed())


def test_what_was_read_onto_the_cpu_goes_on_where_gradients_are():
    """Checkpoints are read onto the CPU; the device without memory stands in for a GPU."""
    half = Cast(torch.float16)
    share = Share(Span(0, 0, COUNT, half, half), 0, 0, COUNT)
    message = torch.zeros(half.nbytes(COUNT), dtype=torch.uint8)
    feedback, resumed = Feedback(), Feedback()
    feedback.encode(share, UP, half, gradient_of(0, COUNT), message, key=0, first_bucket=0)
    resumed.load_state_dict(feedback.state_dict())
    elsewhere = torch.empty(COUNT, device="meta")
    resumed.encode(share, UP, half, elsewhere, message.to("meta"), key=1, first_bucket=0)
    assert {error.device for error in resumed.error(UP, 0).values()} == {elsewhere.device}
    assert {error.device for error in feedback.error(UP, 0).values()} == {message.device}
