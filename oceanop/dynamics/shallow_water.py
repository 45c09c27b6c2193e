"""The shallow-water model: long waves and storm surges in a basin, stepped by compiled loops or by tensors."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from oceanop.constants import GRAVITY
from oceanop.dynamics.compiled import CompiledRun
from oceanop.dynamics.forcing import Forcing
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.running import Run, Runner, Surroundings
from oceanop.dynamics.state import Snapshot, State
from oceanop.dynamics.stencil import BOTTOM_DRAG, WATER_DENSITY, make_stencil
from oceanop.dynamics.tensors import TensorEngine, TensorRun

Engine = Literal["compiled", "torch"]


class ShallowWaterModel:
    """Level and depth-mean current of a basin, driven by wind, air pressure and the ocean beyond.

    ``eta_t + div(D u) = 0`` and ``u_t + f k x u = -g grad(eta + pa / (rho g)) + tau / (rho D) - Cd |u| u / D``, with
    ``D = h`` (linear) or ``h + eta``; no advection of momentum. Forward-backward steps: level first, then the
    currents with the new level (Mesinger and Arakawa, GARP 17, 1976); which of ``u`` and ``v`` comes first changes
    from step to step (Sielecki, Mon. Weather Rev. 96, 1968, has one order). Friction is semi-implicit. Rotation does
    no work on any sea floor: currents are weighted with the root of the thickness (Espelid, Berntsen and Barthel,
    Int. J. Numer. Methods Eng. 49, 2000).

    Parameters
    ----------
    grid
        The basin.
    friction
        Quadratic bottom drag coefficient; 0 for none.
    linear
        Whether the water's thickness is that at rest. If not, no cell may fall dry.
    boundary
        Where the basin is open; closed if None.
    time_step
        s; the longest safe one that divides ``forcing_interval`` if None.
    forcing_interval
        Between the times, counted from 0, at which the air is asked for, s; linear in between.
    engine
        ``compiled`` (on the CPU) or ``torch``.
    dtype
        ``float32`` or ``float64``.
    density, gravity
        Of the water, kg m-3, and m s-2.
    threads
        That a compiled model shares members among, eight at a time.
    device
        Of a model in tensors.

    Raises
    ------
    ValueError
        If the time step is unstable or does not divide the interval, friction is negative, or the boundary does not
        fit the basin.
    """

    def __init__(
        self,
        grid: CGrid,
        *,
        friction: float = BOTTOM_DRAG,
        linear: bool = True,
        boundary: OpenBoundary | None = None,
        time_step: float | None = None,
        forcing_interval: float = 3600.0,
        engine: Engine = "compiled",
        dtype: Literal["float32", "float64"] = "float32",
        density: float = WATER_DENSITY,
        gravity: float = GRAVITY,
        threads: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        if friction < 0:
            raise ValueError(f"friction is {friction:g}; a drag coefficient is 0 or positive.")
        if dtype not in ("float32", "float64") or engine not in ("compiled", "torch"):
            raise ValueError(
                f"engine '{engine}' in {dtype}; expected 'compiled' or 'torch' in float32 or float64."
            )
        if (engine == "torch" and threads != 1) or (
            engine == "compiled" and torch.device(device).type != "cpu"
        ):
            raise ValueError(
                f"engine '{engine}' with threads={threads} on {device}; threads are the compiled engine's, devices "
                "those of 'torch', which takes its threads from torch.set_num_threads."
            )
        if boundary is not None:
            boundary.check(grid)
        longest = grid.longest_time_step(gravity)
        self.time_step = grid.time_step(forcing_interval, gravity) if time_step is None else float(time_step)
        if not 0 < self.time_step < longest:
            raise ValueError(
                f"a time step of {self.time_step:g} s is unstable: the fastest wave of this basin wants less than "
                f"{longest:.4g} s. Leave time_step out, and {grid.time_step(forcing_interval, gravity):g} s is taken."
            )
        self.grid = grid
        self.dtype = np.dtype(dtype)
        self.forcing_interval = forcing_interval
        self._interval_steps = self._steps(forcing_interval, "forcing_interval")
        self.stencil = make_stencil(
            grid,
            time_step=self.time_step,
            friction=friction,
            linear=linear,
            boundary=boundary,
            density=density,
            gravity=gravity,
        )
        self.engine, self.threads = engine, threads
        self._surroundings = Surroundings(self.stencil, boundary)
        self._tensors = TensorEngine(self.stencil, dtype=self.dtype, device=device)

    def at_rest(self, members: int = 1) -> State:
        """No level, no current."""
        rest = np.zeros((members, *self.grid.shape), self.dtype)
        return State(rest, rest.copy(), rest.copy())

    def state(
        self,
        zos: ArrayLike,
        ubar: ArrayLike | None = None,
        vbar: ArrayLike | None = None,
        *,
        steps: int = 0,
    ) -> State:
        """A state from fields at the centres, ``[Y, X]`` or ``[member, Y, X]``; what lies on land is left out.

        The current through a side is the mean of its cells'.

        Raises
        ------
        ValueError
            If a field has another shape, or is not finite in the sea.
        """
        given = [zos] if ubar is None else [zos, ubar]
        given += [] if vbar is None else [vbar]
        members = max(1 if np.ndim(field) == 2 else len(np.asarray(field)) for field in given)
        fields = []
        for name, field in (("zos", zos), ("ubar", ubar), ("vbar", vbar)):
            values = np.zeros(self.grid.shape) if field is None else np.asarray(field)
            if values.shape not in (self.grid.shape, (members, *self.grid.shape)):
                raise ValueError(
                    f"{name} has shape {values.shape}; expected {self.grid.shape} or {(members, *self.grid.shape)}."
                )
            values = np.where(self.grid.wet, values, 0.0)
            if not np.isfinite(values).all():
                row, column = np.argwhere(~np.isfinite(values))[0][-2:]
                raise ValueError(f"{name} is not finite at {self.grid.place(row, column)}, a wet cell.")
            fields.append(np.broadcast_to(values, (members, *self.grid.shape)))
        sides = (
            (fields[1] + np.roll(fields[1], -1, axis=-1)) / 2 * self.grid.east,
            (fields[2] + np.roll(fields[2], -1, axis=-2)) / 2 * self.grid.north,
        )
        level, east, north = (field.astype(self.dtype) for field in (fields[0], *sides))
        return State(level, east, north, steps)

    def run(
        self, state: State, duration: float, *, forcing: Forcing | None = None, every: float = 3600.0
    ) -> Iterator[Snapshot]:
        """Go on from a state and show what comes of it.

        Parameters
        ----------
        state
            To start from; not changed.
        duration
            s, a multiple of ``every``.
        forcing
            The air at a time in s; none if None.
        every
            Between two snapshots, s, a multiple of the time step; the first comes after it.

        Yields
        ------
        Snapshot
            The same, bit for bit, whether the run began before or at an earlier snapshot's state.

        Raises
        ------
        ValueError
            If times do not fit, the air's fields have another shape, or the state stops being numbers.
        """
        between = self._steps(every, "every")
        shown = round(duration / every)
        if shown < 1 or abs(shown * every - duration) > 1e-6 * every:
            raise ValueError(f"a run of {duration:g} s does not hold a whole number of steps of {every:g} s.")
        expected = (*state.zos.shape[:1], *self.grid.shape)
        for name, field in state.fields._asdict().items():
            if field.shape != expected:
                raise ValueError(
                    f"the state's {name} has shape {field.shape}; the model expects [member, Y, X], {expected}."
                )
        with torch.no_grad():
            runner = Runner(self._start, self._surroundings, state, forcing, self._interval_steps)
        for _ in range(shown):
            with torch.no_grad():  # not across a yield: gradients are the caller's own affair
                runner.to(runner.steps + between)
                snapshot = runner.snapshot()
            yield snapshot

    def differentiable(
        self,
        zos: Tensor,
        u: Tensor,
        v: Tensor,
        *,
        tauu: Tensor | None = None,
        tauv: Tensor | None = None,
        msl: Tensor | None = None,
        intervals: int | None = None,
        steps: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same steps as tensors that gradients flow through, to the state and to the air.

        Parameters
        ----------
        zos, u, v
            State as in :class:`oceanop.dynamics.state.State`, ``[member, Y, X]``.
        tauu, tauv, msl
            Air at the beginning and at the end of each interval, ``[interval + 1, 1 or member, Y, X]``.
        intervals
            How many of ``forcing_interval`` to go; as many as the air has if None.
        steps
            Done before, a multiple of an interval's.

        Returns
        -------
        Level and currents at the centres at the end of each interval, ``[interval, member, Y, X]`` each.

        Raises
        ------
        ValueError
            If the air's fields are not equally long or do not reach.
        """
        fields = (tauu, tauv, msl)
        lengths = {len(field) - 1 for field in fields if field is not None}
        count = intervals if intervals is not None else min(lengths, default=0)
        if len(lengths) > 1 or count < 1 or any(length < count for length in lengths):
            raise ValueError(
                f"air for {sorted(lengths)} intervals, {count} to go; give all its fields at one more time than there "
                "are intervals, at least one."
            )
        assert steps % self._interval_steps == 0, steps
        engine, state = self._tensors, self._tensors.load((zos, u, v))
        members, shares = zos.shape[0], np.arange(1, self._interval_steps + 1) / self._interval_steps
        out: list[tuple[Tensor, Tensor, Tensor]] = []
        for number in range(count):
            at = [[None if field is None else field[number + ahead] for field in fields] for ahead in (0, 1)]
            first = steps + number * self._interval_steps
            arrays = [
                [None if field is None else field.detach().cpu().numpy() for field in some] for some in at
            ]
            level, currents = self._surroundings.beyond(first, shares, members, arrays[0], arrays[1])
            state = engine.advance(
                state,
                air=engine.air(at[0]),
                later=engine.air(at[1]),
                first=first,
                shares=shares,
                level=level,
                currents=currents,
            )
            out.append(engine.centres(state))
        levels, east, north = (torch.stack(fields) for fields in zip(*out, strict=True))
        return levels, east, north

    def _start(self, state: State) -> Run:
        if self.engine == "torch":
            return TensorRun(self._tensors, state.fields)
        return CompiledRun(self.stencil, state.fields, dtype=self.dtype, threads=self.threads)

    def _steps(self, interval: float, name: str) -> int:
        steps = round(interval / self.time_step)
        if steps < 1 or abs(steps * self.time_step - interval) > 1e-6 * self.time_step:
            raise ValueError(
                f"{name} is {interval:g} s, which a time step of {self.time_step:g} s does not divide; give a multiple."
            )
        return steps
