"""VASP: a finished ``vasprun.xml``, through pymatgen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materia.crystal import Crystal, validate
from materia.data.calculations._calculation import Calculation, UnusableError, check_functional, file_digest, finite
from materia.quantities import Fidelity

_OFF = ("--", "none", "")
# Value of ISMEAR -> its name: https://www.vasp.at/wiki/index.php/ISMEAR
_SMEARING = {-5: "tetrahedron", -4: "tetrahedron", -1: "fermi-dirac", 0: "gaussian"}


def functional_of(parameters: Mapping[str, Any], titles: Sequence[str], *, hubbard: bool) -> str:
    """The functional by VASP's own rules: hybrid, then meta-GGA, then GGA, else that of the POTCARs.

    Args:
        parameters: as VASP used them (or an INCAR: what is not there has VASP's default).
        titles: of the POTCARs (``PAW_PBE Si 05Jan2001``).
        hubbard: whether a U other than 0 acts on an element.
    """
    meta, gga = (str(parameters.get(tag, "")).strip() for tag in ("METAGGA", "GGA"))
    if parameters.get("LHFCALC"):
        alpha, screening = float(parameters.get("AEXX", 0.25)), float(parameters.get("HFSCREEN", 0.0))
        hse = math.isclose(alpha, 0.25) and 0.2 <= screening <= 0.21
        name = str(Fidelity.HSE06) if hse else f"a hybrid (AEXX {alpha:g}, HFSCREEN {screening:g})"
    elif meta.lower() not in _OFF:
        name = meta
    elif gga.lower() not in _OFF:
        name = "PBE" if gga.upper() == "PE" else f"GGA {gga}"
    else:
        families = {title.split()[0] for title in titles if title}
        name = (
            "PBE" if families == {"PAW_PBE"} else f"the functional of the POTCARs {', '.join(sorted(families)) or '?'}"
        )
    extras = {
        "U": hubbard,
        "spin-orbit coupling": parameters.get("LSORBIT"),
        "van der Waals terms": parameters.get("LUSE_VDW") or int(parameters.get("IVDW") or 0),
    }
    return " + ".join([name, *(extra for extra, on in extras.items() if on)])


def smearing_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``smearing`` and ``smearing_ev``."""
    order = int(parameters.get("ISMEAR", 1))
    name = _SMEARING.get(order, f"methfessel-paxton {order}" if order > 0 else f"ISMEAR {order}")
    return {"smearing": name, "smearing_ev": 0.0 if order in (-4, -5) else float(parameters.get("SIGMA", 0.2))}


def read_vasprun(path: Path, place: str) -> Calculation:
    """The last step of a run that converged.

    Raises:
        UnusableError: it is cut off, did not converge, or has a functional no label is made of.
    """
    from xml.etree.ElementTree import ParseError

    from pymatgen.io.vasp import Vasprun

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run = Vasprun(str(path), parse_dos=False, parse_potcar_file=False)
        except (ParseError, SyntaxError) as error:
            raise UnusableError(f"unfinished: the file ends before its end ({error})") from error
        used: dict[str, Any] = {**run.parameters, "IVDW": run.incar.get("IVDW", 0)}
        functional = check_functional(functional_of(used, run.potcar_symbols, hubbard=run.is_hubbard))
        if not run.converged_electronic:
            raise UnusableError(f"not converged: NELM ({used.get('NELM')}) self-consistency steps were used up")
        if not run.converged_ionic:
            raise UnusableError(f"not converged: NSW ({used.get('NSW')}) ionic steps were used up")
        if int(used.get("ICHARG", 2)) >= 10:
            raise UnusableError(f"not self-consistent (ICHARG {used['ICHARG']}): its energy is none of the structure")
        if float(run.incar.get("PSTRESS", 0)):
            raise UnusableError(f"under a pressure of {run.incar['PSTRESS']} kbar (PSTRESS)")
        structure = validate(Crystal.from_pymatgen(run.final_structure))
        numbers = {"energy": finite(run.final_energy, "the total energy") / structure.n_atoms}
        if run.eigenvalues:
            numbers["gap"] = max(0.0, finite(run.eigenvalue_band_properties[0], "the gap"))
        grid = [int(n) for n in run.kpoints.kpts[0]] if run.kpoints.num_kpts == 0 else []
    moving = int(used.get("NSW", 0)) > 1 and int(used.get("IBRION", -1)) in (1, 2, 3)
    relaxed_cell = moving and int(used.get("ISIF", 2)) in (3, 6, 7)
    if relaxed_cell:
        numbers["volume"] = structure.volume / structure.n_atoms
    settings: dict[str, Any] = {
        "cutoff_ev": float(used.get("ENMAX") or used.get("ENCUT") or 0.0),
        **({"kpoints": grid} if grid else {}),
        **smearing_of(used),
        "spin": "polarized" if run.is_spin else "closed shell",
        "pseudopotentials": {title.split()[1].split("_")[0]: title for title in run.potcar_symbols},
    }
    return Calculation(
        place,
        file_digest(path),
        "",
        "vasp",
        str(run.vasp_version),
        functional,
        validate(Crystal.from_pymatgen(run.initial_structure)),
        structure,
        numbers,
        settings,
        {"steps": float(len(run.ionic_steps) - 1)} if moving else {},
    )
