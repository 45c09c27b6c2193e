"""The CF conventions as a checker of others reads them: IOOS's compliance-checker, with the standard names it ships."""

from pathlib import Path

import pytest

CONVENTIONS = "cf:1.11"


def breaches(path: Path) -> list[str]:
    """What breaks a rule ("must", not "should") of the conventions in a NetCDF file, in the checker's words."""
    checks = pytest.importorskip("compliance_checker.suite", reason="it comes with the extra 'dev'")
    rules = pytest.importorskip("compliance_checker.cf.cf_1_11").CF1_11Check
    suite = checks.CheckSuite()
    suite.checkers = {CONVENTIONS: rules}  # its other suites warn that they are old
    with suite.load_dataset(str(path)) as ds:
        groups, errors = suite.run_all(ds, [CONVENTIONS])[CONVENTIONS]
    assert not errors, errors  # of the checker itself
    assert len(groups) > 10
    return [
        f"{group.name}: {message}"
        for group in groups
        if group.weight >= rules.HIGH and group.value[0] < group.value[1]
        for message in group.msgs
    ]
