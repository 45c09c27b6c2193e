"""The ranks of a run: who takes part, what they tell each other, and how they end together."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from training.rendezvous import meet

Value = TypeVar("Value")

# A rank that dies closes its connections and is missed at once. This is for one that hangs, or whose machine is cut
# off; it must be longer than the first rank takes to write a checkpoint while the others wait.
TIMEOUT = timedelta(minutes=10)

CPU = torch.device("cpu")
ENVIRONMENT = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class AgreedError(ValueError):
    """An error that all ranks raise together; ``silent`` on all but the first, so that it is told once."""

    def __init__(self, sentence: str, *, silent: bool = False) -> None:
        super().__init__(sentence)
        self.silent = silent


class LostPeerError(ConnectionError):
    """Another rank is gone, and this one cannot go on without it."""

    exit_code = 1


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes
    ----------
    rank, world_size
        Which of how many; the first is 0 and does all that is done once.
    local_rank
        Which of those on this machine.
    device
        Where this rank computes.
    restarts
        How often torchrun has started the ranks again after a failure.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = CPU
    restarts: int = 0

    @property
    def first(self) -> bool:
        """Whether this rank prints and writes for all."""
        return self.rank == 0

    def on(self, choice: str) -> "Ranks":
        """The same rank on the device that ``training.device`` names: ``auto``, ``cpu`` or ``cuda``.

        Raises
        ------
        ValueError
            If there is no CUDA device, or none left for this rank.
        """
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if choice == "cpu" or (choice == "auto" and not found):
            return replace(self, device=torch.device("cpu"))
        if not found:
            raise ValueError(
                "training.device is 'cuda', and torch finds no CUDA device here; choose 'cpu' or 'auto', or install a "
                "torch built for CUDA on a machine that has one."
            )
        if self.local_rank >= found:
            raise ValueError(
                f"rank {self.rank} is number {self.local_rank + 1} on a machine with {found} CUDA devices, and each "
                f"rank needs its own; start --nproc-per-node {found}, or set training.device to 'cpu'."
            )
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return replace(self, device=device)

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order, on all of them."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def gather_to_first(self, value: Value) -> list[Value] | None:
        """The values of all ranks on the first, None on the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.first else None
        dist.gather_object(value, values)
        return values

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum of a small CPU tensor over the ranks, the same bits on all of them."""
        total = tensor.clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total

    def agreed_error(self, sentence: str) -> AgreedError:
        """An error for what every rank finds at the same point; the first one tells it."""
        return AgreedError(sentence, silent=not self.first)

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Work of each rank by itself, without collectives; an error on any of them ends all with its sentence."""
        error: ValueError | OSError | None = None
        try:
            yield
        except (ValueError, OSError) as raised:
            if self.world_size == 1:
                raise
            error = raised
        told = self.gather(None if error is None else _sentence(error))
        failed = {sentence: _places(told, sentence) for sentence in told if sentence is not None}
        if not failed:
            return
        everywhere = None not in told and len(failed) == 1
        sentence = "; ".join(
            words if everywhere else f"on {where}: {words}" for words, where in failed.items()
        )
        raise self.agreed_error(sentence) from error

    def agree(self, facts: dict[str, str]) -> None:
        """End all ranks unless they hold the same facts.

        Raises
        ------
        AgreedError
            Names each fact that differs, and its value on which ranks.
        """
        told = self.gather(facts)
        differences = []
        for name in dict.fromkeys(name for held in told for name in held):
            values = [held.get(name, "nothing") for held in told]
            if len(set(values)) > 1:
                places = ", ".join(f"{value} on {_places(values, value)}" for value in dict.fromkeys(values))
                differences.append(f"{name} is {places}")
        if differences:
            raise self.agreed_error(
                f"the ranks do not agree: {'; '.join(differences)}. Start all of them with the same run, store and "
                "software."
            )

    @contextmanager
    def missing_peers(self, told: Callable[[], str]) -> Iterator[None]:
        """Turn what the transport says of a peer that is gone into a sentence; ``told`` says when, and the cure."""
        try:
            yield
        except RuntimeError as error:
            if self.world_size == 1 or not _of_the_transport(error):
                raise
            words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise LostPeerError(
                f"rank {self.rank}: a peer was lost {told()} (The transport says: {words})"
            ) from error

    @contextmanager
    def interrupts_wait(self) -> Iterator[Callable[[], bool]]:
        """Ask for interrupts at the end of a step instead of being thrown out of it, where others wait for this rank.

        Yields whether there was one. A second interrupt does not wait. One process is interrupted as usual.
        """
        if self.world_size == 1:
            yield lambda: False
            return
        asked: list[int] = []

        def note(number: int, frame: object) -> None:
            if asked.count(number):
                raise KeyboardInterrupt
            asked.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield lambda: bool(asked)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def join() -> Iterator[Ranks]:
    """Take part in the group that torchrun describes in the environment; one process needs none.

    Inside another ``join`` it is the same group.

    Raises
    ------
    ValueError
        If the environment names several ranks, but not how they find each other.
    LostPeerError
        If they do not.
    """
    ranks = _from_environment()
    if ranks.world_size == 1 or dist.is_initialized():
        yield ranks
        return
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    # Small agreements travel between CPUs, also where gradients travel between CUDA devices.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        with ranks.missing_peers(
            lambda: f"before it came to {where}; see what the other ranks say, and start all again."
        ):
            store = meet(ranks.rank, ranks.world_size, TIMEOUT)
            dist.init_process_group(
                backend, store=store, rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT
            )
        yield ranks
    except BaseException:
        # torchrun ends all ranks as soon as it sees that one has ended; each is to say its own last word first.
        if dist.is_torchelastic_launched() and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def job() -> str | None:
    """What torchrun calls the job, the same for all its restarts; None where it has no name of its own.

    A name that was not given with ``--rdzv-id`` is made up for one machine, and is ``none`` for several.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def _from_environment() -> Ranks:
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    missing = [name for name in ENVIRONMENT if name not in os.environ]
    if world_size > 1 and missing:
        raise ValueError(
            f"WORLD_SIZE is {world_size}, but of {', '.join(ENVIRONMENT)} there is no {', '.join(missing)}; start the "
            f"ranks with 'torchrun --no-python --nproc-per-node {world_size} oceanop train ...'."
        )
    rank, local_rank = (int(os.environ.get(name, "0")) for name in ENVIRONMENT[:2])
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    return Ranks(rank, world_size, local_rank, restarts=restarts)


def _sentence(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}."
    return str(error)


def _places(values: list[Any], value: object) -> str:
    """The ranks that hold a value, neighbours joined: ``ranks 0-2, 5``."""
    runs: list[list[int]] = []
    for rank, held in enumerate(values):
        if held == value:
            if runs and runs[-1][1] == rank - 1:
                runs[-1][1] = rank
            else:
                runs.append([rank, rank])
    words = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"rank{'s' if runs[0] != runs[-1] or runs[0][0] != runs[0][1] else ''} {words}"


def _of_the_transport(error: RuntimeError) -> bool:
    # Inside a backward pass the kind of the error is lost, and only its text tells where it came from.
    words = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in words or "nccl" in words
