"""PowerSGD for mode-major spectral weights over gloo: a peer to measure the exchange of codes beside."""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

View = Literal["mode", "whole"]


def matrices(gradient: Tensor, view: View) -> Tensor:
    """A gradient as a stack of matrices ``[stack, rows, columns]``, without a copy.

    A spectral weight ``[*modes, in, out, 2]`` becomes, in the view ``"mode"``, one matrix ``[in, 2 out]`` per mode, and
    in the view ``"whole"`` one matrix ``[modes, 2 in out]``. Two-dimensional gradients are one matrix, others a row.

    Per mode, the gradient is a sum over samples of outer products of complex vectors: rank ``2 B`` in real numbers
    holds a global batch of ``B`` samples exactly, whatever was learned. As a whole it has no such bound, but few modes
    carry most of the energy. So, by ``notebooks/results/exchange/powersgd_views.csv``, modes lose least at equal rank
    and each single mode, which is what Adam scales by, loses least also at equal bytes; the sum of squares at equal
    bytes favours the whole. Modes are the default, and both are measured.
    """
    if gradient.dim() > 2:
        if view == "mode":
            return gradient.flatten(0, -4).flatten(2, 3)
        return gradient.flatten(0, -4).flatten(1)[None]
    return gradient.reshape(1, gradient.shape[0], -1)


def saving(gradient: Tensor, *, rank: int, view: View) -> float:
    """Numbers of a gradient over those of its factors; 0 for what is no matrix."""
    if gradient.dim() < 2:
        return 0.0
    stack, rows, columns = matrices(gradient, view).shape
    return gradient.numel() / (stack * (rows + columns) * rank)


def orthonormalise(basis: Tensor) -> Tensor:
    """Gram-Schmidt on the columns of a stack ``[stack, rows, rank]``; a column of zeros remains one.

    Every column is freed from the earlier ones twice: once leaves rounding errors as large as a column that is nearly
    in the span of the others.
    """
    result = torch.zeros_like(basis)
    for column in range(basis.shape[2]):
        vector = _unit(basis[:, :, column : column + 1])
        done = result[:, :, :column]
        for _ in range(2 if column else 0):
            vector = _unit(vector - done @ (done.transpose(1, 2) @ vector))
        result[:, :, column : column + 1] = vector
    return result


def _unit(vectors: Tensor) -> Tensor:
    """Columns divided by their length, zeros left alone."""
    length = vectors.norm(dim=1, keepdim=True)
    return torch.where(length > 0, vectors / length, 0.0)


@dataclass
class _Memory:
    """What a matrix keeps between steps: the last right factor, and what was not sent yet."""

    right: Tensor
    error: Tensor


class PowerSGD:
    """Mean of gradients in factors of low rank (Vogels, Karimireddy, Jaggi 2019, arXiv 1905.13727, algorithms 1 and 2).

    One power iteration a step from the last step's right factor, with error feedback: ``D = gradient + error``,
    ``P = orth(mean(D Q))``, ``Q = mean(D^T P)``, all ranks take ``P Q^T``, and ``error = D - P Q^T``.

    Parameters
    ----------
    group
        A process group of its own.
    rank
        Columns of the factors.
    view
        How a spectral weight becomes matrices, see :func:`matrices`.
    least_saving
        A gradient travels in factors if they are this many times smaller.

    Attributes
    ----------
    bytes_sent
        Payload that this rank has sent, if the all-reduce sends ``2 (P - 1) / P`` of its numbers, as rings do.
    """

    def __init__(
        self,
        group: dist.ProcessGroup | None,
        *,
        rank: int = 4,
        view: View = "mode",
        least_saving: float = 2.0,
    ) -> None:
        self.group, self.rank, self.view, self.least_saving = group, rank, view, least_saving
        self.ranks = dist.get_world_size(group)
        self.bytes_sent = 0
        self._memory: dict[int, _Memory] = {}
        self._random = torch.Generator().manual_seed(0)  # the same draws on all ranks

    def error(self, key: int) -> Tensor:
        """What this rank still owes of a gradient, as matrices."""
        return self._memory[key].error

    @torch.no_grad()
    def average(self, gradients: dict[int, Tensor]) -> None:
        """Replace float32 gradients, by their keys, by their mean over the ranks: of low rank where that saves.

        Two all-reduces carry all of them: the left factors with what is not compressed, then the right ones.
        """
        low = {
            key: matrices(gradient, self.view)
            for key, gradient in gradients.items()
            if saving(gradient, rank=self.rank, view=self.view) >= self.least_saving
        }
        rest = [gradient for key, gradient in gradients.items() if key not in low]
        for key, matrix in low.items():
            memory = self._memory.setdefault(key, self._fresh(matrix))
            matrix.add_(memory.error)
            self._renew(memory)
        lefts = [matrix @ self._memory[key].right for key, matrix in low.items()]
        self._mean([*lefts, *rest])
        lefts = [orthonormalise(left) for left in lefts]
        rights = [matrix.transpose(1, 2) @ left for matrix, left in zip(low.values(), lefts, strict=True)]
        if rights:
            self._mean(rights)
        for (key, matrix), left, right in zip(low.items(), lefts, rights, strict=True):
            memory = self._memory[key]
            memory.right = right
            mean = left @ right.transpose(1, 2)
            torch.sub(matrix, mean, out=memory.error)
            matrix.copy_(mean)

    def _fresh(self, matrix: Tensor) -> _Memory:
        return _Memory(
            matrix.new_zeros(matrix.shape[0], matrix.shape[2], self.rank), torch.zeros_like(matrix)
        )

    def _renew(self, memory: _Memory) -> None:
        """Columns of length one; those that died with a gradient of lower rank are drawn anew."""
        drawn = torch.randn(memory.right.shape[1:], generator=self._random)
        alive = memory.right.norm(dim=1, keepdim=True) > 0
        memory.right = _unit(torch.where(alive, memory.right, drawn))

    def _mean(self, parts: list[Tensor]) -> None:
        """Average tensors in place in one all-reduce."""
        message = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(message, group=self.group)
        message /= self.ranks
        self.bytes_sent += 2 * (self.ranks - 1) * message.numel() * message.element_size() // self.ranks
        for part, mean in zip(parts, message.split([part.numel() for part in parts]), strict=True):
            part.copy_(mean.view_as(part))


def power_sgd(ddp: DistributedDataParallel, *, rank: int = 4, view: View = "mode") -> PowerSGD:
    """Average the gradients of a model in factors of low rank; every rank calls it once, before the first backward.

    All collectives are issued by one thread in the order of the buckets. In callbacks of one another, as in torch's own
    hook, they meet in different orders on different ranks and hang as soon as there are two buckets.
    """
    state = PowerSGD(dist.new_group(), rank=rank, view=view)
    jobs: queue.SimpleQueue[tuple[Tensor, Sequence[Tensor], Future[Tensor]]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            buffer, parameters, done = jobs.get()
            try:
                state.average(_gradients(buffer, parameters))
            except BaseException as error:
                done.set_exception(error)  # type: ignore[arg-type]  # declared too narrowly in torch
                return
            done.set_result(buffer)

    def hook(_: None, bucket: dist.GradBucket) -> Future[Tensor]:
        done: Future[Tensor] = Future()
        jobs.put((bucket.buffer(), bucket.parameters(), done))
        return done

    ddp.register_comm_hook(None, hook)
    threading.Thread(target=work, name="PowerSGD", daemon=True).start()
    return state


def _gradients(buffer: Tensor, parameters: Sequence[Tensor]) -> dict[int, Tensor]:
    """The gradients of a bucket by the identity of their parameter; buckets are rebuilt after the first step."""
    sizes = [parameter.numel() for parameter in parameters]
    if sum(sizes) != buffer.numel():
        raise ValueError(
            f"a bucket holds {buffer.numel()} numbers for parameters of {sum(sizes)}; complex ones are not supported, "
            "keep real parts in a last axis of two."
        )
    return {
        id(parameter): part.view(parameter.shape)
        for parameter, part in zip(parameters, buffer.split(sizes), strict=True)
    }
