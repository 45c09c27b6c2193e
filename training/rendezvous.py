"""Where ranks find each other, also after torchrun has started them again."""

import os
import time
import uuid
from datetime import timedelta

import torch.distributed as dist

CALL, PRESENT = "oceanop/call", "present"
POLL = 0.1  # s


def meet(rank: int, world_size: int, timeout: timedelta) -> dist.Store:
    """A store that holds nothing but what these ranks put there.

    torchrun keeps one store for all its restarts, and in it the addresses of ranks that have died. The first rank
    calls under a name of its own, the others answer with theirs, and who is among those that it then reads out has
    heard the right call: one of an earlier start has other answers.

    Raises
    ------
    DistError
        If the store is not there, or not all ranks come in time.
    """
    by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size,
        is_master=rank == 0 and not by_launcher,
        timeout=timeout,
        wait_for_workers=False,
        multi_tenant=True,
    )
    own = uuid.uuid4().hex
    if rank == 0:
        met = dist.PrefixStore(own, store)
        store.set(CALL, own)
        met.set(PRESENT, " ".join(met.get(_answer(other)).decode() for other in range(1, world_size)))
        return met
    until = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < until:
        met = dist.PrefixStore(store.get(CALL).decode(), store)
        met.set(_answer(rank), own)
        time.sleep(POLL)
        if met.check([PRESENT]) and own in met.get(PRESENT).decode().split():
            return met
    raise dist.DistStoreError(f"rank {rank} was not called within {timeout}")


def _answer(rank: int) -> str:
    return f"rank {rank}"
