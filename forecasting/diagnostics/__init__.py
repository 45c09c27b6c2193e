"""Sets of metrics that evaluate computes beside the scores of cells."""

from collections.abc import Callable, Sequence

from forecasting.diagnostic import Diagnostic

DIAGNOSTICS: dict[str, Callable[[], Diagnostic]] = {}  # by the name they are asked for by
DEFAULT: tuple[str, ...] = ()  # cheap beside reading, and of use to everybody


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
