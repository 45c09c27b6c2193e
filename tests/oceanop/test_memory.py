"""Large fields use the memory of those before them, and never hold more than was in use at the same time."""

import gc
import multiprocessing
import os
import subprocess
import sys

import pytest
import torch

from oceanop.operators.memory import Pool, new_field

MEGABYTE = 2**20


def field(pool: Pool, megabytes: int) -> torch.Tensor:
    return pool.field((megabytes, 1024, 256), torch.float32)


def test_a_block_comes_back_with_the_last_tensor_on_it() -> None:
    pool = Pool()
    first = field(pool, 2)
    place, part = first.data_ptr(), first.view(-1)[7:]
    del first
    assert pool.free == 0
    del part
    assert pool.free == 2 * MEGABYTE
    assert field(pool, 2).data_ptr() == place
    assert pool.held == 2 * MEGABYTE


def test_two_fields_never_share_memory() -> None:
    pool = Pool()
    fields = [field(pool, 1).fill_(number) for number in range(4)]
    assert [one.unique().tolist() for one in fields] == [[0], [1], [2], [3]]


def test_a_graph_keeps_what_it_saved() -> None:
    pool = Pool()
    x = field(pool, 1).normal_().requires_grad_()
    expected, loss = 2 * x.detach().clone(), x.square().sum()
    x_gradient = x
    del x
    other = field(pool, 1).zero_()
    loss.backward()
    assert torch.equal(x_gradient.grad, expected)
    assert not other.any()


def test_no_more_is_held_than_was_in_use_at_once() -> None:
    pool = Pool()
    large = field(pool, 6)
    del large
    several = [field(pool, size) for size in (1, 2, 3)]
    assert pool.held == 6 * MEGABYTE
    del several
    one = field(pool, 5)
    assert pool.held == 6 * MEGABYTE
    del one
    pool.clear()
    gc.collect()
    assert pool.held == pool.free == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is what is tried here
def test_a_forked_child_writes_to_memory_of_its_own() -> None:
    mine = field(Pool(), 1).fill_(1)
    child = multiprocessing.get_context("fork").Process(target=mine.fill_, args=(2,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert torch.equal(mine, torch.ones_like(mine))


def test_small_fields_are_the_c_librarys() -> None:
    from oceanop.operators.memory import fields

    held = fields.held
    small = new_field(torch.zeros(1), 10, 10)
    assert small.shape == (10, 10)
    assert fields.held == held
    assert new_field(torch.zeros(1, dtype=torch.float64), 1024, 1024).dtype == torch.float64


def settled(**environment: str) -> str:
    command = "from oceanop.operators.allocator import settle_allocator; print(settle_allocator())"
    base = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return subprocess.run(
        [sys.executable, "-c", command], env=base | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_settings_that_a_user_chose_stay() -> None:
    assert settled(MALLOC_TRIM_THRESHOLD_="1000000") == "False"
