"""Sets of metrics that evaluate computes beside the scores of cells."""

from collections.abc import Callable, Sequence

from forecasting.diagnostic import Diagnostic
from forecasting.diagnostics.anomalies import Anomalies
from forecasting.diagnostics.balance import Balance
from forecasting.diagnostics.cells import Cells
from forecasting.diagnostics.drift import Drift
from forecasting.diagnostics.ensembles import Ensembles
from forecasting.diagnostics.motion import Motion
from forecasting.diagnostics.peaks import Peaks
from forecasting.diagnostics.periods import Periods
from forecasting.diagnostics.spectra import BasinSpectra, BoxSpectra
from forecasting.diagnostics.thresholds import Thresholds
from forecasting.diagnostics.vorticity import Vorticity
from forecasting.diagnostics.waves import Waves

_ALL: tuple[Callable[[], Diagnostic], ...] = (
    Anomalies,
    Motion,
    Vorticity,
    Ensembles,
    Thresholds,
    Peaks,
    BasinSpectra,
    BoxSpectra,
    Periods,
    Waves,
    Balance,
    Drift,
    Cells,
)
DIAGNOSTICS: dict[str, Callable[[], Diagnostic]] = {
    each().name: each for each in _ALL
}  # by what they are asked for by
DEFAULT: tuple[str, ...] = (
    "anomalies",
    "motion",
    "ensembles",
)  # cheap beside reading, and of use to everybody


def diagnostics_of(asked: str | Sequence[str | Diagnostic] | None) -> list[Diagnostic]:
    """Diagnostics by name.

    Parameters
    ----------
    asked
        ``all``, ``none``, names separated by commas, or a list of names and diagnostics; None takes ``DEFAULT``.

    Raises
    ------
    ValueError
        If there is none of that name, or one is asked for twice.
    """
    if asked is None:
        asked = DEFAULT
    elif isinstance(asked, str):
        words = {"all": list(DIAGNOSTICS), "none": []}
        asked = words[asked] if asked in words else [name.strip() for name in asked.split(",")]
    found: list[Diagnostic] = []
    for each in asked:
        if isinstance(each, str) and each not in DIAGNOSTICS:
            raise ValueError(
                f"there is no diagnostic '{each}'; name one of {', '.join(DIAGNOSTICS)}, 'all' or 'none'."
            )
        made = DIAGNOSTICS[each]() if isinstance(each, str) else each
        if any(made.name == other.name for other in found):
            raise ValueError(f"the diagnostic '{made.name}' is asked for twice; ask for it once.")
        found.append(made)
    return found
