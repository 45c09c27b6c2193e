"""What the exchange says it sends is what the network card sends, on a network of our own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.network import PREFIX, ROOT, Network, unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

NUMBERS = 2_000_000  # codes of 8 and 4 bits: 2 and 1 megabytes, beside which a barrier is nothing


def test_the_exchange_counts_the_bytes_that_the_network_card_sends() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.exchange_worker", "average"]
    methods = ["float32", "codes-8b", "codes-4b"]
    with Network(2, rate=1e9) as network:
        told = network.run([*command, *methods, "--repeats", "2", "--numel", str(NUMBERS)], timeout=120)
    full, *codes = json.loads(told[0])["rows"]
    # Headers of packets and acknowledgements are below one percent.
    assert full["sent_bytes"] == pytest.approx(4 * NUMBERS, rel=0.02)
    for row in codes:
        assert row["sent_bytes"] == pytest.approx(row["payload_bytes"], rel=0.02)
        assert row["replicas_identical"]


def test_nothing_is_left_of_a_network_whose_owner_was_killed() -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from tests.network import Network\n"
            "with Network(2, rate=1e9) as network:\n"
            "    print('made', flush=True)\n"
            "    network.run(['sleep', '600'], timeout=600)\n",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "made\n"
    mine = f"{PREFIX}-{owner.pid}-"
    first = _process_in(f"{mine}0-rank0")
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    end = time.monotonic() + 30
    while mine in _namespaces():
        assert time.monotonic() < end, _namespaces()
        time.sleep(0.05)
    assert not _runs(first)


def test_a_rank_that_fails_ends_the_others_and_is_quoted() -> None:
    program = (
        "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit('the sea is dry')\ntime.sleep(600)\n"
    )
    with (
        Network(3, rate=None) as network,
        pytest.raises(RuntimeError, match=r"rank 1 ended with code 1; it said:\nthe sea is dry"),
    ):
        network.run([sys.executable, "-c", program], timeout=60)


def _runs(process: int) -> bool:
    """Whether it does anything still; one that is dead may be listed until its adopted parent looks."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def _process_in(space: str) -> int:
    """A process that runs in a namespace, once there is one."""
    end = time.monotonic() + 30
    while True:
        told = subprocess.run(
            ["ip", "netns", "pids", space], capture_output=True, text=True, check=True
        ).stdout
        if told:
            return int(told.split()[0])
        assert time.monotonic() < end
        time.sleep(0.02)


def _namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
