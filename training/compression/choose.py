"""From the words of a run to an exchange of gradients; 'auto' asks the link first."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from oceanop.config import CompressionConfig
from training.compression.adaptive import ALQ, AMQ
from training.compression.codec import Cast, Codec
from training.compression.exchange import Exchange
from training.compression.hook import GradientExchange, compress_gradients
from training.compression.layerwise import LayerWise
from training.compression.plan import Span, plan
from training.compression.quantizer import Quantizer
from training.compression.quantizers import NUQSGD, QSGD, Ternary

PROBE_NUMBERS = 1 << 21  # 8 MiB: some tenths of a second at 100 Mbit/s, long beside any latency
PROBE_ROUNDS = 5
WORTH = 1.25  # a coarser exchange must be so many times as fast as the next finer one to be chosen
GIGABIT = 125e6  # bytes a second; on slower links the way down is worth its bits too
_QUANTIZERS = {"qsgd": QSGD, "nuqsgd": NUQSGD, "alq": ALQ, "amq": AMQ}


@dataclass(frozen=True)
class Probe:
    """What was measured before a choice, the slowest rank's.

    Attributes
    ----------
    bytes_per_second
        A float32 exchange's payload of one rank over its time.
    encode_seconds
        Core seconds a number costs in one exchange, by bits.
    ranks, numbers
        How many ranks; how many numbers the gradient has.
    """

    bytes_per_second: float
    encode_seconds: dict[int, float]
    ranks: int
    numbers: int

    def seconds(self, up: int, down: int) -> float:
        """Predicted time of one exchange with so many bits up and down; 32 are float32."""
        share = (self.ranks - 1) / self.ranks * self.numbers
        wire = share * (up + down) / 8 / self.bytes_per_second
        work = sum(self.encode_seconds.get(bits, 0.0) for bits in (up, down)) / 2
        return wire + work * self.numbers

    def break_even(self, bits: int) -> float:
        """Rate in bytes a second above which quantizing to ``bits`` no longer pays."""
        return 2 * (self.ranks - 1) / self.ranks * (4 - bits / 8) / self.encode_seconds[bits]


def choose(probe: Probe) -> tuple[str, int, int]:
    """Method, bits up and bits down for a link.

    From fine to coarse: float32; 8 uniform bits, which training does not notice; 4 adapted bits up with 8 down; and, on
    links below 1 Gbit/s, 4 both ways. Each is taken only if it is 1.25 times as fast as what was taken so far.
    """
    chosen, best = ("off", 32, 32), probe.seconds(32, 32)
    offers = [("qsgd", 8, 8), ("alq", 4, 8)]
    if probe.bytes_per_second < GIGABIT:
        offers.append(("alq", 4, 4))
    for offer in offers:
        seconds = probe.seconds(offer[1], offer[2])
        if seconds * WORTH <= best:
            chosen, best = offer, seconds
    return chosen


def resolve(
    config: CompressionConfig, ddp: DistributedDataParallel
) -> tuple[CompressionConfig, dict[str, Any] | None]:
    """Put a measured choice in the place of 'auto'; what was measured and chosen, for the log.

    All ranks call it at the same point and get the same answer. Anything but 'auto' comes back as it is, with None.
    """
    if config.method != "auto":
        return config, None
    parameters = [p for p in ddp.module.parameters() if p.requires_grad]
    numbers = sum(p.numel() * (2 if p.is_complex() else 1) for p in parameters)
    probe = measure(numbers, parameters[0].device, bucket_size=config.bucket_size)
    method, up, down = choose(probe)
    kept = {name: getattr(config, name) for name in ("bucket_size", "norm", "warmup_steps", "error_feedback")}
    resolved = (
        CompressionConfig(method="off")
        if method == "off"
        else CompressionConfig.model_validate({"method": method, "bits": up, "down_bits": down, **kept})
    )
    told = {
        "method": method,
        "bits": up,
        "down_bits": down,
        "bytes_per_second": probe.bytes_per_second,
        "break_even_bytes_per_second": {str(b): probe.break_even(b) for b in sorted(probe.encode_seconds)},
        "predicted_seconds": {
            "float32": probe.seconds(32, 32),
            "8": probe.seconds(8, 8),
            "4 up, 8 down": probe.seconds(4, 8),
            "4": probe.seconds(4, 4),
        },
    }
    return resolved, told


def measure(numbers: int, device: torch.device, *, bucket_size: int = 1024) -> Probe:
    """Time a float32 exchange and the kernels on this machine; collective, and the same on every rank."""
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)
    ranks = dist.get_world_size()
    count = min(numbers, PROBE_NUMBERS)
    values = torch.linspace(-1, 1, count, device=device)
    exchange = Exchange(group, device, seed=0)
    exact: Codec = Cast(torch.float32)
    segments = plan([Span(0, 0, count, exact, exact)], ranks)
    messages = [exchange.messages(segment) for segment in segments]
    sent = exchange.average(values, segments, messages, step=0)  # connects the ranks

    def link() -> None:
        exchange.average(values, segments, messages, step=0)

    rate = sent / _seconds(link, device)
    costs = [_cost(bits, values, bucket_size) for bits in (4, 8)]
    own = torch.tensor([rate, *costs], dtype=torch.float64, device=device)
    held = [torch.empty_like(own) for _ in range(ranks)]
    dist.all_gather(held, own, group=group)
    all_ranks = torch.stack(held).cpu()
    dist.destroy_process_group(group)
    return Probe(
        bytes_per_second=float(all_ranks[:, 0].min()),
        encode_seconds={4: float(all_ranks[:, 1].max()), 8: float(all_ranks[:, 2].max())},
        ranks=ranks,
        numbers=numbers,
    )


def _cost(bits: int, values: Tensor, bucket_size: int) -> float:
    """Seconds a number: a rank encodes each once, up or down, and decodes it twice at most."""
    codec = (ALQ(4, bucket_size) if bits == 4 else QSGD(8, bucket_size)).codec
    message = torch.empty(codec.nbytes(values.numel()), dtype=torch.uint8, device=values.device)
    decoded = torch.empty_like(values)

    def once() -> None:
        codec.encode(values, message, key=1)
        codec.decode(message, decoded)
        codec.decode(message, decoded, add=True)

    once()  # compiles
    return _seconds(once, values.device) / values.numel()


def _seconds(work: Any, device: torch.device) -> float:
    times = []
    for _ in range(PROBE_ROUNDS):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return median(times)


def quantizer_for(config: CompressionConfig) -> Quantizer | LayerWise | Cast:
    """The quantizer that a resolved ``[compression]`` table names."""
    if config.method in ("off", "fp16", "bf16"):
        return Cast({"off": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[config.method])
    # Two bytes less for each bucket; what rounding norms up loses is far below what levels lose.
    options: dict[str, Any] = {"norm_dtype": "bfloat16"}
    if config.method == "ternary":
        return Ternary(config.bucket_size, config.norm, **options)
    if config.method == "layerwise":
        return LayerWise(config.error_budget, bucket_size=config.bucket_size, norm=config.norm, **options)
    return _QUANTIZERS[config.method](config.bits, config.bucket_size, config.norm, **options)


def exchange_for(config: CompressionConfig, ddp: DistributedDataParallel, *, seed: int) -> GradientExchange:
    """Register the exchange that a resolved ``[compression]`` table names on a model; collective.

    Float32 takes this way too: its sums are formed in the order of ranks, whichever buffers data parallelism forms, so
    that a resumed run repeats the one that was never stopped bit for bit on any number of ranks.
    """
    quantizer = quantizer_for(config)
    if isinstance(quantizer, Cast):
        return compress_gradients(ddp, quantizer, seed=seed)
    return compress_gradients(
        ddp,
        quantizer,
        down_bits=config.down_bits,
        error_feedback=config.error_feedback,
        warmup_steps=config.warmup_steps,
        seed=seed,
    )
