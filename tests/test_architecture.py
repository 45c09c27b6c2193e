"""The rooms of the house: who may import whom, how long a file may be, what a name owes its reader."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("oceanop", "data_pipelines", "training", "forecasting")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_imports_only_ever_point_downward():
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; "
        "lint_imports_command(['--no-cache'])",
    ]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_importing_the_packages_loads_nothing_heavy():
    """Maps and other people's operators cost seconds; who uses them asks for them there."""
    program = (
        f"import sys; sys.path.insert(0, '.'); import {', '.join(PACKAGES)}; "
        "print([m for m in ('neuralop', 'wandb', 'cartopy', 'matplotlib') if m in sys.modules])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert outcome.stdout.strip() == "[]", outcome.stdout + outcome.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_outgrows_a_sitting(path: Path):
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{name_of(path)} has {lines} lines; two ideas share a file, give one its own"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_name_says_what_it_is(path: Path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{name_of(path)} has no sentence at the top"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name_of(path)}:{node.lineno} {node.name} has no docstring"


def test_every_library_that_is_imported_is_declared_and_pinned():
    distributions = importlib.metadata.packages_distributions()
    extras = [
        entry for name, group in PROJECT["optional-dependencies"].items() if name != "dev" for entry in group
    ]
    declared = {normalised(re.split(r"[^\w.-]", entry)[0]) for entry in [*PROJECT["dependencies"], *extras]}
    pinned = {
        normalised(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert declared <= pinned, f"not in constraints.txt: {sorted(declared - pinned)}"
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for top in {name.split(".")[0] for name in names} - {*PACKAGES, *sys.stdlib_module_names}:
                owners = {normalised(owner) for owner in distributions.get(top, [top])}
                assert owners & declared, (
                    f"{name_of(path)} imports {top}, which pyproject.toml does not declare"
                )
