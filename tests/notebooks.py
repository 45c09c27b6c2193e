"""The experiments' files as modules, for the tests that call them."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def load_notebooks(names: Sequence[str]) -> dict[str, ModuleType]:
    """Notebooks by name, which import one another as files side by side; fresh ones, known to nobody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        modules = {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]
    return modules
