"""Between physical units and the numbers near one that an operator sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from oceanop.layout import Channel
from oceanop.variables import VARIABLES


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each channel, physical units, ``[channel]``."""

    mean: Tensor
    std: Tensor

    @classmethod
    def from_statistics(cls, statistics: xr.Dataset, channels: Sequence[Channel]) -> "Scaling":
        """Scaling of a run's channels from the statistics of its training period.

        The two components of a vector share one standard deviation, their root mean square: a length must not
        depend on the direction it points in.

        Raises
        ------
        ValueError
            If a variable does not vary in the training period, or has no value at sea in it.
        """

        def value(name: str, channel: Channel) -> float:
            array = statistics[channel.variable].sel(statistic=name)
            return float(array if channel.depth is None else array.sel(depth=channel.depth))

        std = {channel: value("std", channel) for channel in channels}
        for channel, deviation in std.items():
            if math.isnan(deviation):
                cure = "" if channel.depth is None else " or ingest with --depths that have sea,"
                raise ValueError(
                    f"'{channel}' has no value on any ocean cell in the training period, so there is nothing to learn "
                    f"from; leave it out of the run,{cure} or choose a training period that holds it."
                )
            if not deviation > 0:
                raise ValueError(
                    f"'{channel}' has standard deviation {deviation:g} in the training period; a constant field cannot "
                    "be learned or used. Leave it out of the run."
                )
        shared = []
        for channel in channels:
            partner = VARIABLES[channel.variable].partner
            other = std.get(Channel(partner, channel.depth), std[channel]) if partner else std[channel]
            shared.append(((std[channel] ** 2 + other**2) / 2) ** 0.5)
        means = [value("mean", channel) for channel in channels]
        return cls(torch.tensor(means, dtype=torch.float32), torch.tensor(shared, dtype=torch.float32))
