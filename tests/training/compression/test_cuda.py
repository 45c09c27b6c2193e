"""The CUDA kernels write the bytes of the CPU: shown by Triton's interpreter, and by a device where there is one."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.compression import cpu, cuda
from training.compression.levels import (
    LONG,
    SHORT,
    UNIFORM,
    LevelSet,
    exponential_levels,
    symmetric_uniform_levels,
    uniform_levels,
)

# Triton decides when it is imported whether it interprets, so the interpreter has a process of its own.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = ["cpu"] if INTERPRETED else [pytest.param("cuda", marks=pytest.mark.gpu)]
BITS = (2, 3, 4, 8)
LEVELS = {
    "uniform": uniform_levels,
    "without zero": symmetric_uniform_levels,
    "exponential": lambda count: exponential_levels(count, 0.5 if count <= 8 else 0.95, zero=True),
    "exponential without zero": lambda count: exponential_levels(
        count, 0.5 if count <= 8 else 0.95, zero=False
    ),
}


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with np.errstate(
        all="ignore"
    ):  # the interpreter computes with NumPy, which warns where a device does not
        yield request.param


def heavy_tailed(size: int, seed: int = 0) -> Tensor:
    """Numbers over ten decades, as gradients are."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(size) * 10.0 ** generator.integers(-8, 3, size)
    return torch.from_numpy(values.astype(np.float32))


class Link:
    """Both implementations with one configuration."""

    def __init__(
        self,
        device: str,
        *,
        bits: int = 4,
        levels: LevelSet | None = None,
        bucket_size: int = 64,
        euclidean: bool = False,
        norm_bytes: int = 4,
    ) -> None:
        self.device, self.bits, self.bucket_size = device, bits, bucket_size
        self.euclidean, self.norm_bytes = euclidean, norm_bytes
        self.tables = (levels or uniform_levels(2 ** (bits - 1))).tables
        self.on_device = self.tables.on(torch.device(device))

    def message(self, size: int, device: str, offset: int = 0) -> Tensor:
        buckets = -(-size // self.bucket_size)
        nbytes = buckets * self.norm_bytes + -(-size // 8) * self.bits
        # 0xAA: a byte that is not written shows
        return torch.full((offset + nbytes,), 0xAA, dtype=torch.uint8, device=device)[offset:]

    def encode_cpu(self, values: Tensor, *, key: int = 1, first_bucket: int = 0) -> Tensor:
        message = self.message(values.numel(), "cpu")
        tables = self.tables
        cpu.encode(
            values.numpy(),
            message.numpy(),
            self.bucket_size,
            self.bits,
            tables.kind,
            tables.first,
            tables.at.numpy(),
            tables.low.numpy(),
            tables.inverse.numpy(),
            tables.guess.numpy(),
            self.euclidean,
            self.norm_bytes,
            np.uint64(key),
            first_bucket,
        )
        return message

    def encode(self, values: Tensor, *, key: int = 1, first_bucket: int = 0, offset: int = 0) -> Tensor:
        message = self.message(values.numel(), self.device, offset)
        tables = self.on_device
        cuda.encode(
            values.to(self.device),
            message,
            self.bucket_size,
            self.bits,
            tables.kind,
            tables.first,
            tables.at,
            tables.low,
            tables.inverse,
            tables.guess,
            self.euclidean,
            self.norm_bytes,
            key,
            first_bucket,
        )
        return message

    def decode_cpu(self, message: Tensor, values: Tensor, *, add: bool) -> Tensor:
        values = values.clone()
        cpu.decode(
            message.numpy(),
            values.numpy(),
            self.bucket_size,
            self.bits,
            self.tables.signed.numpy(),
            self.norm_bytes,
            add,
        )
        return values

    def decode(self, message: Tensor, values: Tensor, *, add: bool) -> Tensor:
        values = values.to(self.device, copy=True)
        cuda.decode(
            message.to(self.device),
            values,
            self.bucket_size,
            self.bits,
            self.on_device.signed,
            self.norm_bytes,
            add,
        )
        return values.cpu()


def assert_same_numbers(actual: Tensor, expected: Tensor) -> None:
    """Bit for bit, signs of zeros too; but any NaN is like another, for processors differ in the one they make."""
    assert torch.equal(actual.isnan(), expected.isnan())
    number = ~expected.isnan()
    assert torch.equal(actual[number].view(torch.int32), expected[number].view(torch.int32))


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("bits", BITS)
def test_bytes_and_numbers_are_those_of_the_cpu(device: str, bits: int, levels: str) -> None:
    for bucket_size, size, norm_bytes in ((64, 1000, 4), (192, 389, 2), (1024, 1025, 4)):
        link = Link(
            device,
            bits=bits,
            levels=LEVELS[levels](2 ** (bits - 1)),
            bucket_size=bucket_size,
            norm_bytes=norm_bytes,
        )
        values, before = heavy_tailed(size, seed=size), heavy_tailed(size, seed=7)
        message = link.encode_cpu(values, key=99, first_bucket=3)
        assert torch.equal(link.encode(values, key=99, first_bucket=3).cpu(), message)
        assert_same_numbers(
            link.decode(message, before, add=True), link.decode_cpu(message, before, add=True)
        )


@pytest.mark.parametrize("size", [1, 8, 9, 63, 64, 65, 73, 128])
@pytest.mark.parametrize("bits", BITS)
def test_any_length_is_written_and_read_whole(device: str, bits: int, size: int) -> None:
    link = Link(device, bits=bits, levels=symmetric_uniform_levels(2 ** (bits - 1)))
    values = heavy_tailed(size, seed=size)
    message = link.encode_cpu(values)
    assert torch.equal(link.encode(values).cpu(), message)
    nothing = torch.full((size,), torch.nan)
    assert_same_numbers(
        link.decode(message, nothing, add=False), link.decode_cpu(message, nothing, add=False)
    )


def test_an_empty_gradient_is_an_empty_message(device: str) -> None:
    link = Link(device)
    assert link.encode(torch.empty(0)).numel() == 0
    assert link.decode(torch.empty(0, dtype=torch.uint8), torch.empty(0), add=True).numel() == 0


@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize("norm_bytes", [4, 2])
@pytest.mark.parametrize("bits", BITS)
def test_buckets_of_extremes_are_those_of_the_cpu(
    device: str, bits: int, norm_bytes: int, euclidean: bool
) -> None:
    # Only the order of a sum of squares may differ: for small integers times a power of two every order is exact.
    buckets = torch.randint(-1000, 1000, (11, 64), generator=torch.Generator().manual_seed(0)) * 2.0**-12
    buckets[0] = 0
    buckets[1] = -0.0
    buckets[2, 5] = torch.nan
    buckets[3, 63] = torch.inf
    buckets[4, 0] = -torch.inf
    buckets[5] = 1e-42  # subnormal: a device that flushes them to zero would lose the bucket
    buckets[6] *= 2.0**-130
    buckets[7] = 0
    buckets[7, 9] = -3e38
    buckets[8] = 3.4e38  # up to bfloat16, or the sum of squares, is beyond the largest number
    buckets[9] = 0
    buckets[9, 2] = 2.0**-149
    buckets[10] = torch.arange(64).float() - 32  # ratios on levels
    values = buckets.flatten()
    for levels in (uniform_levels, symmetric_uniform_levels):
        link = Link(
            device,
            bits=bits,
            levels=levels(2 ** (bits - 1)),
            euclidean=euclidean,
            norm_bytes=norm_bytes,
        )
        message = link.encode_cpu(values)
        assert torch.equal(link.encode(values).cpu(), message)
        zeros = torch.zeros(values.numel())
        assert_same_numbers(
            link.decode(message, zeros, add=False), link.decode_cpu(message, zeros, add=False)
        )


@pytest.mark.parametrize(
    ("key", "first_bucket"),
    [(0, 0), (1, 1), (2**31, 2**31 - 1), (2**32 + 5, 2**31), (2**63 - 1, 2**32), (2**64 - 1, 2**33)],
)
def test_every_key_and_bucket_number_draws_the_same_numbers(device: str, key: int, first_bucket: int) -> None:
    link = Link(device)
    values = heavy_tailed(200)
    expected = link.encode_cpu(values, key=key, first_bucket=first_bucket)
    assert torch.equal(link.encode(values, key=key, first_bucket=first_bucket).cpu(), expected)


@pytest.mark.parametrize("bits", BITS)
def test_a_bucket_is_written_alike_wherever_it_lies(device: str, bits: int) -> None:
    link = Link(device, bits=bits, norm_bytes=2)
    values = heavy_tailed(64 * 7 + 20)
    expected = link.encode_cpu(values)
    room = torch.empty(values.numel() + 3, device=device)
    for offset in (1, 2):
        shifted = room[offset : offset + values.numel()].copy_(values)
        message = link.encode(shifted, offset=offset)
        assert torch.equal(message.cpu(), expected)
        assert_same_numbers(
            link.decode(message, values, add=True), link.decode_cpu(expected, values, add=True)
        )


@pytest.mark.parametrize("norm_bytes", [4, 2])
@pytest.mark.parametrize(("bucket_size", "size"), [(64, 1000), (192, 385), (1024, 4096), (1024, 3)])
def test_norms_are_those_of_the_cpu(device: str, bucket_size: int, size: int, norm_bytes: int) -> None:
    values = heavy_tailed(size, seed=size)
    values[: bucket_size // 2] = 0
    values[-1] = torch.nan
    for euclidean in (False, True):
        found = torch.empty(-(-size // bucket_size), device=device)
        cuda.norms(values.to(device), bucket_size, euclidean, norm_bytes, found)
        expected = np.empty(found.numel(), np.float32)
        cpu.norms(values.numpy(), bucket_size, euclidean, norm_bytes, expected)
        if euclidean:
            # Sums in float64, in another order, may fall on the other side of one rounding to the format that travels.
            step = 2.0**-23 if norm_bytes == 4 else 2.0**-7
            torch.testing.assert_close(
                found.cpu(), torch.from_numpy(expected), rtol=step, atol=0, equal_nan=True
            )
        else:
            assert_same_numbers(found.cpu(), torch.from_numpy(expected))


@pytest.mark.gpu
def test_a_gradient_of_more_numbers_than_31_bits_count_is_read_to_its_end() -> None:
    size = 2**31 + 5 * 1024 + 3
    if not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 6 * size:
        pytest.skip("needs a CUDA device with 13 GB of free memory")
    link = Link("cuda", bucket_size=1024)
    values = torch.zeros(size, device="cuda")
    begin = 2**31 - 1024
    values[begin:] = heavy_tailed(size - begin).cuda()
    message = link.encode(values)
    expected = link.encode_cpu(values[begin:].cpu(), first_bucket=begin // 1024)
    norms = -(-(size - begin) // 1024) * 4
    codes = expected.numel() - norms
    assert torch.equal(message[-codes:].cpu(), expected[norms:])
    decoded = torch.empty(size, device="cuda")
    cuda.decode(message, decoded, 1024, 4, link.on_device.signed, 4, False)
    assert not decoded[:begin].any()
    assert_same_numbers(
        decoded[begin:].cpu(), link.decode_cpu(expected, torch.empty(size - begin), add=False)
    )


if not INTERPRETED:

    @pytest.mark.slow
    def test_in_the_interpreter_of_triton_the_bytes_are_those_of_the_cpu() -> None:
        pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")
        outcome = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            cwd=Path(__file__).resolve().parents[3],
            env={**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert "skipped" not in outcome.stdout, outcome.stdout

    def test_importing_the_module_does_not_need_triton(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "triton", None)
        with pytest.raises(ImportError):
            import triton  # noqa: F401
        runpy.run_path(cuda.__file__)

    @pytest.fixture
    def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
        """Kernels compiled for a device of compute capability 9.0, which need not be there, instead of launched."""
        pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")
        from triton.backends.compiler import GPUTarget
        from triton.runtime import driver
        from triton.runtime.jit import JITFunction

        absent = SimpleNamespace(
            get_current_target=lambda: GPUTarget("cuda", 90, 32),
            get_current_device=lambda: -1,
            get_current_stream=lambda device: 0,
        )
        launch, kernels = JITFunction.run, []

        def compile_only(self: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
            kernels.append(launch(self, *arguments, grid=grid, warmup=True, **options))

        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr(driver, "_active", absent)
        monkeypatch.setattr(JITFunction, "run", compile_only)
        return kernels

    @pytest.mark.parametrize(
        ("bits", "levels", "kind", "euclidean"),
        [
            (4, "uniform", UNIFORM, False),
            (4, "exponential", SHORT, True),
            (8, "without zero", LONG, False),
        ],
    )
    def test_device_code_rounds_each_operation_and_moves_16_bytes_at_once(
        compiled: list[Any], bits: int, levels: str, kind: int, euclidean: bool
    ) -> None:
        link = Link(
            "cpu",
            bits=bits,
            levels=LEVELS[levels](2 ** (bits - 1)),
            bucket_size=1024,
            euclidean=euclidean,
        )
        assert link.tables.kind == kind
        values = torch.zeros(4096)
        message = link.encode(values, key=2**64 - 1)
        cuda.decode(message, values, 1024, bits, link.on_device.signed, 4, True)
        for kernel in compiled:
            text = kernel.asm["ptx"]
            # fused products and sums, approximate quotients and flushed subnormals would all give other bytes
            assert not re.search(r"\bfma\b|\.approx\b|\.ftz\b|div\.full", text)
            assert "ld.global.v4.b32" in text
        encoder, decoder = (kernel.asm["ptx"] for kernel in compiled)
        assert "div.rn.f32" in encoder
        assert "st.global.v4.b32" in decoder

    def test_a_new_key_or_length_needs_no_new_compilation(compiled: list[Any]) -> None:
        link = Link("cpu", bucket_size=1024)
        for key, first_bucket, size in (
            (1, 0, 4096),
            (16, 1, 8192),
            (2**31, 2**33, 2**20),
            (2**64 - 1, 3, 4096),
        ):
            link.encode(torch.zeros(size), key=key, first_bucket=first_bucket)
        assert len(compiled) == 4
        assert all(kernel is compiled[0] for kernel in compiled)


@pytest.mark.gpu
@pytest.mark.benchmark
@pytest.mark.parametrize("size", [10_000_000, 100_000_000])
@pytest.mark.parametrize("levels", ["uniform", "exponential"])
def test_throughput_of_the_true_bytes(capsys: pytest.CaptureFixture[str], levels: str, size: int) -> None:
    """Prints TB/s of float32 numbers encoded, and decoded and added, at 4 bits in buckets of 1024."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from triton.testing import do_bench

    link = Link("cuda", levels=LEVELS[levels](8), bucket_size=1024)
    tables = link.on_device
    # Pieces beyond what the second-level cache holds, taken in turn, so that it is the memory that is measured.
    pieces = [torch.randn(size, device="cuda") for _ in range(max(2, 100_000_000 // size))]
    messages = [link.message(size, "cuda") for _ in pieces]
    assert torch.equal(link.encode(pieces[0]).cpu(), link.encode_cpu(pieces[0].cpu()))

    def encode() -> None:
        for piece, message in zip(pieces, messages, strict=True):
            cuda.encode(
                piece,
                message,
                1024,
                4,
                tables.kind,
                tables.first,
                tables.at,
                tables.low,
                tables.inverse,
                tables.guess,
                False,
                4,
                1,
                0,
            )

    def decode() -> None:
        for piece, message in zip(pieces, messages, strict=True):
            cuda.decode(message, piece, 1024, 4, tables.signed, 4, True)

    for verb, call in (("encode", encode), ("decode and add", decode)):
        milliseconds = do_bench(call, return_mode="median") / len(pieces)
        with capsys.disabled():
            print(
                f"\n{verb}, {levels} levels, {size:,} floats: {4e-9 * size / milliseconds:.2f} TB/s of float32"
            )
