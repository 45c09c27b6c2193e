"""Several forecasters as one: the mean of what they forecast."""

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from forecasting.forecaster import Forecaster, Initial, State


class EnsembleMean:
    """The mean of the members' states, lead by lead.

    What members trained from different seeds get wrong in different ways cancels; what they share stays. The mean of
    a squared error is never less than the squared error of the mean, so that on any cell and lead the ensemble is at
    least as good as its members are on average (Krogh and Vedelsby, NIPS 7, 1995). It is smoother than each of them.

    Parameters
    ----------
    members
        Forecasters of the same channels on the same cells. They run side by side, lead by lead.

    Raises
    ------
    ValueError
        If there is no member; and, once they forecast, if their states differ in channels or cells.
    """

    def __init__(self, members: Sequence[Forecaster]) -> None:
        if not members:
            raise ValueError("an ensemble has no member to take the mean of; give one forecaster or more.")
        self.members = tuple(members)
        self.name = joint_name(member.name for member in members)
        self.history = max(member.history for member in members)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the states at leads 1 to ``leads``.

        Raises
        ------
        ValueError
            If a member's states have other channels or cells than those of the first.
        """
        first, *others = (member.forecast(initial, forcing, leads) for member in self.members)
        for state in first:
            # Summed as they come: a stack would hold the states of all members at once
            total = state.values.clone()
            for member, run in zip(self.members[1:], others, strict=True):
                values = next(run).values
                self._require_shape_of_the_first(member, values, total)
                total += values
            yield State(state.lead, total / len(self.members))

    def _require_shape_of_the_first(self, member: Forecaster, values: Tensor, first: Tensor) -> None:
        if values.shape != first.shape:
            raise ValueError(
                f"{member.name}, a member of an ensemble, forecasts {_shape_text(values)}, and {self.members[0].name}, "
                f"its first member, {_shape_text(first)}; give members of the same channels on the same cells."
            )


def joint_name(names: Iterable[str]) -> str:
    """What forecasters are called together: one by its own name, several as an ensemble of the names they have."""
    given = list(names)
    return "+".join(dict.fromkeys(given)) + ("-ensemble" if len(given) > 1 else "")


def _shape_text(values: Tensor) -> str:
    channels, *cells = values.shape
    return f"{channels} channel(s) of {' x '.join(str(size) for size in cells)} cells"
