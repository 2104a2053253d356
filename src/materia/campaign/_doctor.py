"""What this machine can do, and what is missing for the rest."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
from pathlib import Path

from materia.campaign._folder import versions
from materia.campaign._settings import CampaignSettings, find_campaign_file, load_settings
from materia.compute import Finding, Site, check_site
from materia.errors import MateriaError
from materia.plugins import installed
from materia.simulation import STANDARD, Capabilities, Engine, Level, engine, lacking
from materia.surrogate import SurrogateSettings


def doctor(site: str | None = None, file: str | Path | None = None) -> list[Finding]:
    """Examine versions, engines, libxc, cores, memory, GPU, Slurm and the shipped data; touches nothing.

    Args:
        site: name or path of a site profile, to be compared with what its scheduler says (nothing is submitted).
        file: campaign file: its engine is the one that has to be there; its site, with its overrides, is compared;
            ``site`` replaces the site it names.

    Raises:
        ConfigError: no such site profile or campaign file, or it cannot be read.
    """
    settings = None if file is None else load_settings(find_campaign_file(file))
    profile = _profile(site, settings)
    found = versions()
    lines = [Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    lines.append(Finding("materia", True, found.get("materia", "?")))
    lines += [_machine(), _accelerator(), *_engines(settings), _slurm(), *_data()]
    if profile is not None:
        lines += [dataclasses.replace(line, name=f"site: {line.name}") for line in check_site(profile)]
    elif file is not None:
        lines.append(Finding("site", None, f"{file} runs on the local backend: there is no site to compare"))
    return lines


def _profile(site: str | None, settings: CampaignSettings | None) -> Site | None:
    if settings is None:
        return None if site is None else Site.load(site)
    compute = settings.compute
    if site is None and compute.backend != "slurm":
        return None
    return Site.load(site or compute.site, compute.overrides)


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


def _engines(settings: CampaignSettings | None) -> list[Finding]:
    """A campaign needs the engines of its levels; without one, any engine of DFT will do."""
    names = list(installed("materia.engines"))
    levels = [] if settings is None else list(settings.ladder.levels.values())
    needed = {one.engine for one in levels}
    programs = {name: engine(name) for name in names}
    found = {name: _capabilities(program, levels) for name, program in programs.items()}
    any_dft = any(found[name].available for name, program in programs.items() if program.electrons)
    lines = []
    for name, capabilities in found.items():
        if not capabilities.available:
            optional = name not in needed if needed else any_dft
            lines.append(
                Finding(f"engine {name}", None if optional else False, capabilities.missing, capabilities.remedy)
            )
            continue
        lines.append(Finding(f"engine {name}", True, capabilities.version))
        for feature, present in capabilities.features.items():
            detail = "yes" if present else "no"
            remedy = "" if present else capabilities.remedies.get(feature, "")
            if feature == "libxc" and not present:
                detail = "no: the built-in PBE is used; SCAN, HSE06 and GLLB-SC are missing"
                remedy = "install libxc's headers and rebuild GPAW (docs/installation.md)"
            lines.append(Finding(f"{name}: {feature}", True if present else None, detail, remedy))
    for recipe, level in () if settings is None else settings.ladder.rungs:
        capabilities = found[level.engine]
        if capabilities.available and (lacks := lacking(recipe, level.engine, capabilities)):
            lines.append(Finding(f"recipe {recipe}", False, *lacks))
    return lines or [Finding("engines", False, "none installed", "pip install 'materia[gpaw]'")]


def _capabilities(program: Engine, levels: list[Level]) -> Capabilities:
    """What an engine lacks for one of the levels that are its own, else what it can do."""
    asked = [program.capabilities(one) for one in levels if one.engine == program.name] or [program.capabilities()]
    return next((one for one in asked if not one.available), asked[0])


def _slurm() -> Finding:
    path = shutil.which("sbatch")
    if path is None:
        return Finding("slurm", None, "no sbatch on PATH; campaigns run on the local backend")
    return Finding("slurm", True, path)


def _data() -> list[Finding]:
    from materia.data import Dataset
    from materia.resources import resource

    lines = []
    try:
        dataset = Dataset.load(resource("data/dataset"))
        lines.append(
            Finding("dataset", True, f"{len(dataset.computed)} computed structures, digest {dataset.digest[:12]}")
        )
        lines.append(_references())
        if SurrogateSettings().pretrained is not None:
            resource("data/weights")
    except MateriaError as error:
        lines.append(Finding("shipped data", False, error.what, error.remedy or ""))
    return lines


def _references() -> Finding:
    """The elemental references, and whether GPAW would take the PAW datasets here that they were computed with."""
    from materia.stability import References

    references = References.default()
    detail = f"{len(references.elements)} elements"
    try:
        here = engine(STANDARD.engine).pseudopotentials(sorted(references.pseudopotentials), STANDARD)
    except MateriaError:  # without GPAW's datasets nothing is computed that they could be wrong for
        return Finding("references", True, detail)
    if others := [element for element, digest in references.pseudopotentials.items() if here[element] != digest]:
        return Finding(
            "references",
            None,
            f"{detail}; GPAW takes other PAW datasets here for {', '.join(others)}: their formation energies are wrong",
            "take these out of GPAW_SETUP_PATH (docs/level.md)",
        )
    return Finding("references", True, detail)
