"""Ranks on a network of their own: one namespace each, joined by links of a stated rate."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "oceanop"
LINK = "wire"  # the name of a rank's interface, in every namespace the same
PORT = 29500  # every network has its own port numbers: runs side by side do not meet
CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
SLOW_START = "/proc/sys/net/ipv4/tcp_slow_start_after_idle"
LARGEST_PACKET = 64 * 1024 + 2048  # of segmentation offload, with its headers
_COUNTER = itertools.count()

# Deletes the namespaces (its arguments) and what still runs in them once nobody holds the other end of its standard
# input: at the end of the context, after an exception, and after a kill that leaves Python no chance to do it.
_KEEPER = """
trap '' INT TERM HUP
cat > /dev/null
for space in "$@"; do
    while pids=$(ip netns pids "$space" 2> /dev/null) && test -n "$pids"; do
        kill -KILL $pids 2> /dev/null
        sleep 0.05
    done
done
for space in "$@"; do ip netns delete "$space" 2> /dev/null; done
true
"""


class Network:
    """Network namespaces, one a rank, joined by links that send at a given rate.

    A connection that was idle goes on at the rate it had, as machines that train together are commonly set up; with
    Linux's default (``net.ipv4.tcp_slow_start_after_idle = 1``) the first milliseconds of each exchange are slow, some
    six of them at 1 Gbit/s.

    Two ranks share one virtual cable; more are joined by a switch, whose ports are limited too, as those of a real one
    are. A token bucket at every sending end holds the rate, and counts the headers of each Ethernet frame of 1,500
    bytes, so that TCP can carry 95.6 % of it as payload; a plain all-reduce reaches 95 %. The bucket is the larger of
    32 KiB and what the link sends in one millisecond: what a full one gives away is about one percent of the smallest
    message worth measuring. Packets are cut to fit into it, else the bucket would cut them into frames, at a cost in
    time and with more bytes counted. The queue holds 100 ms, so that nothing is lost in it, and TCP is Reno, which
    every Linux has and which, unlike BBR, repeats its times within one percent here.

    Parameters
    ----------
    ranks
        Number of namespaces, at least two.
    rate
        Bits per second of each direction of a link; None for as fast as the kernel copies.

    Raises
    ------
    RuntimeError
        If a namespace or a link cannot be made; what had been made is removed.
    """

    def __init__(self, ranks: int, *, rate: float | None) -> None:
        if ranks < 2:
            raise ValueError(f"{ranks} ranks asked for; a network joins at least two.")
        self.ranks, self.rate = ranks, rate
        name = f"{PREFIX}-{os.getpid()}-{next(_COUNTER)}"
        self._spaces = [f"{name}-rank{rank}" for rank in range(ranks)]
        self._switch = f"{name}-switch" if ranks > 2 else None
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        spaces = [*self._spaces, *([self._switch] if self._switch else [])]
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", *spaces],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal must not reach who cleans up after it
        )
        try:
            for space in spaces:
                _call("ip", "netns", "add", space)
            self._join()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=60)

    def _join(self) -> None:
        if self._switch is None:
            first, second = self._spaces
            _call(
                "ip",
                "-n",
                first,
                "link",
                "add",
                "name",
                LINK,
                "type",
                "veth",
                "peer",
                "name",
                LINK,
                "netns",
                second,
            )
        else:
            _call("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _call("ip", "-n", self._switch, "link", "set", "bridge", "up")
            for rank, space in enumerate(self._spaces):
                port = f"port{rank}"
                peer = ("peer", "name", port, "netns", self._switch)
                _call("ip", "-n", space, "link", "add", "name", LINK, "type", "veth", *peer)
                _call("ip", "-n", self._switch, "link", "set", port, "master", "bridge", "up")
                self._limit(self._switch, port)
        for rank, space in enumerate(self._spaces):
            _call("ip", "-n", space, "address", "add", f"{address(rank)}/24", "dev", LINK)
            _call("ip", "-n", space, "link", "set", LINK, "up")
            _call("ip", "-n", space, "link", "set", "lo", "up")
            _call("ip", "netns", "exec", space, "sh", "-c", f"echo reno > {CONGESTION_CONTROL}")
            _call("ip", "netns", "exec", space, "sh", "-c", f"echo 0 > {SLOW_START}")
            self._limit(space, LINK)

    def _limit(self, space: str, interface: str) -> None:
        if self.rate is None:
            return
        burst = max(32 * 1024, round(self.rate / 8 * 1e-3))
        queue = max(256 * 1024, round(self.rate / 8 * 0.1))
        if burst < LARGEST_PACKET:
            largest = burst - 2048
            _call("ip", "-n", space, "link", "set", interface, "gso_max_size", str(largest))
        shape = ("tbf", "rate", f"{round(self.rate)}bit", "burst", str(burst), "limit", str(queue))
        _call("tc", "-n", space, "qdisc", "add", "dev", interface, "root", *shape)

    def sent(self) -> list[int]:
        """Bytes that each rank's interface has sent since the network was made, headers and all."""
        totals = []
        for space in self._spaces:
            told = json.loads(_call("ip", "-n", space, "-s", "-j", "link", "show", LINK))
            totals.append(int(told[0]["stats64"]["tx"]["bytes"]))
        return totals

    def run(
        self, command: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """Run one copy of a command per rank, as torchrun would, each on a core of its own while there are enough.

        Parameters
        ----------
        command
            Program and arguments, the same on all ranks, started in the root of the repository.
        timeout
            Seconds until all ranks are killed.
        environment
            Variables beyond those of this process and the rendezvous.

        Returns
        -------
        list of str
            What each rank printed to standard output.

        Raises
        ------
        RuntimeError
            If a rank fails or the time is up; the sentence holds the end of what it said.
        """
        cores = sorted(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory() as folder:
            outputs = [Path(folder) / f"{rank}.out" for rank in range(self.ranks)]
            errors = [Path(folder) / f"{rank}.err" for rank in range(self.ranks)]
            processes = []
            try:
                for rank, space in enumerate(self._spaces):
                    core = str(cores[rank % len(cores)])
                    with outputs[rank].open("wb") as output, errors[rank].open("wb") as error:
                        processes.append(
                            subprocess.Popen(
                                ["ip", "netns", "exec", space, "taskset", "-c", core, *command],
                                cwd=ROOT,
                                env={**os.environ, **self._rendezvous(rank), **(environment or {})},
                                stdin=subprocess.DEVNULL,
                                stdout=output,
                                stderr=error,
                                start_new_session=True,
                            )
                        )
                _wait(processes, errors, timeout)
            finally:
                for process in processes:
                    _kill(process)
            return [output.read_text() for output in outputs]

    def _rendezvous(self, rank: int) -> dict[str, str]:
        return {
            "MASTER_ADDR": address(0),
            "MASTER_PORT": str(PORT),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.ranks),
            "GLOO_SOCKET_IFNAME": LINK,
            "OMP_NUM_THREADS": "1",
        }


def address(rank: int) -> str:
    """Where a rank lives; the network is its own, so that addresses never meet those of the machine."""
    return f"10.77.0.{rank + 1}"


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Why no network can be made here, None where it can: the reason for a test to be skipped."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are a part of Linux"
    missing = [tool for tool in ("ip", "tc", "taskset") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} (iproute2, util-linux) is not installed"
    if os.geteuid() != 0:
        return "network namespaces are made by root"
    try:
        with Network(3, rate=1e9):
            return None
    except RuntimeError as error:
        return f"no network namespace with a rate limit can be made: {error}"


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    return done.stdout


def _wait(processes: list[subprocess.Popen[bytes]], errors: list[Path], timeout: float) -> None:
    """Until all have ended well; one that failed leaves the others waiting for it, so nobody waits for them."""
    end = time.monotonic() + timeout
    while True:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                said = errors[rank].read_text()[-3000:]
                raise RuntimeError(f"rank {rank} ended with code {code}; it said:\n{said}")
        if all(code == 0 for code in codes):
            return
        if time.monotonic() > end:
            late = [rank for rank, code in enumerate(codes) if code is None]
            said = "\n".join(f"rank {rank}: {errors[rank].read_text()[-1500:]}" for rank in late)
            raise RuntimeError(f"after {timeout:g} s the ranks {late} had not ended; they said:\n{said}")
        time.sleep(0.02)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
