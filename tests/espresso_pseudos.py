"""Debian's example pseudopotentials (package quantum-espresso-data), and whether pw.x can be tested here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path("/usr/share/espresso/pseudo")
# one PBE file per element: norm-conserving without cutoffs, PAW with, ultrasoft without
CHOSEN = ("Si.pbe-rrkj.UPF", "Ge.pbe-kjpaw.UPF", "C.pbe-rrkjus.UPF", "O.pbe-kjpaw.UPF", "N.pbe-kjpaw.UPF")


def skip_without_espresso() -> None:
    """For the top of a test module."""
    if shutil.which("pw.x") is None:
        pytest.skip("there is no pw.x (apt-get install quantum-espresso)", allow_module_level=True)
    if not all((EXAMPLES / name).is_file() for name in CHOSEN):
        pytest.skip("there are no examples (apt-get install quantum-espresso-data)", allow_module_level=True)


def copy_chosen(folder: Path, *names: str) -> Path:
    """A folder of pseudopotentials with these of the examples, else with the chosen ones."""
    folder.mkdir()
    for name in names or CHOSEN:
        shutil.copy(EXAMPLES / name, folder / name)
    return folder


def use(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point the engine, and the jobs that are started, at that folder."""
    patch.setenv("ESPRESSO_PSEUDO", str(folder))
    patch.delenv("MATERIA_PW_COMMAND", raising=False)
    if os.geteuid() == 0:  # Open MPI refuses root unless it is told so
        patch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
        patch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
