"""What this machine can do, and what is missing for the rest."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import entry_points

from materia.campaign._folder import versions
from materia.errors import MateriaError
from materia.simulation import engine
from materia.surrogate import SurrogateSettings


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        name: what was looked at.
        ok: ``True``, ``False`` for what stops a campaign, ``None`` for what it does without.
        detail: what was found.
        remedy: what to do, where something is missing.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


def doctor() -> list[Finding]:
    """Examine versions, engines, libxc, cores, memory, GPU, Slurm and the shipped data; touches nothing."""
    found = versions()
    lines = [Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    lines.append(Finding("materia", True, found.get("materia", "?")))
    lines += [_machine(), _accelerator(), *_engines(), _slurm(), *_data()]
    return lines


def _machine() -> Finding:
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("machine", True, f"{cores} cores, {memory:.0f} GiB of memory")


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("accelerator", True, f"{torch.cuda.get_device_name(0)} (torch {torch.__version__})")
    return Finding("accelerator", None, f"none; the surrogate runs on the CPU (torch {torch.__version__})")


def _engines() -> list[Finding]:
    lines = []
    for point in sorted(entry_points(group="materia.engines"), key=lambda p: p.name):
        capabilities = engine(point.name).capabilities()
        if not capabilities.available:
            lines.append(Finding(f"engine {point.name}", False, capabilities.missing, capabilities.remedy))
            continue
        lines.append(Finding(f"engine {point.name}", True, capabilities.version))
        for feature, present in capabilities.features.items():
            detail = "yes" if present else "no"
            remedy = ""
            if feature == "libxc" and not present:
                detail = "no: the built-in PBE is used; SCAN, HSE06 and GLLB-SC are missing"
                remedy = "install libxc's headers and rebuild GPAW (docs/installation.md)"
            lines.append(Finding(f"{point.name}: {feature}", True if present else None, detail, remedy))
    return lines or [Finding("engines", False, "none installed", "pip install 'materia[gpaw]'")]


def _slurm() -> Finding:
    path = shutil.which("sbatch")
    if path is None:
        return Finding("slurm", None, "no sbatch on PATH; campaigns run on the local backend")
    return Finding("slurm", True, path)


def _data() -> list[Finding]:
    from materia.data import Dataset
    from materia.resources import resource
    from materia.stability import References

    lines = []
    try:
        dataset = Dataset.load(resource("data/dataset"))
        lines.append(
            Finding("dataset", True, f"{len(dataset.computed)} computed structures, digest {dataset.digest[:12]}")
        )
        lines.append(Finding("references", True, f"{len(References.default().elements)} elements"))
        if SurrogateSettings().pretrained is not None:
            resource("data/weights")
    except MateriaError as error:
        lines.append(Finding("shipped data", False, error.what, error.remedy or ""))
    return lines
