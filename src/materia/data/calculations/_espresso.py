"""Quantum ESPRESSO: the XML of pw.x (``data-file-schema.xml``), schema qes-1.0, in Hartree atomic units."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, fromstring

import numpy as np

from materia.crystal import Crystal, validate
from materia.data.calculations._calculation import Calculation, UnusableError, check_functional, file_digest, finite

MARK: Final = "quantum-espresso.org/ns/qes"
# Names of PBE in pw.x: Modules/funct.f90 of Quantum ESPRESSO ("PBE", and its parts as the log writes them).
_PBE = ("PBE", "SLA PW PBX PBC", "SLA+PW+PBX+PBC")
# Names of smearing in pw.x: INPUT_PW, "smearing".
_SMEARING = {
    **dict.fromkeys(("gaussian", "gauss"), "gaussian"),
    **dict.fromkeys(("fermi-dirac", "f-d", "fd"), "fermi-dirac"),
    **dict.fromkeys(("methfessel-paxton", "m-p", "mp"), "methfessel-paxton"),
    **dict.fromkeys(("marzari-vanderbilt", "cold", "m-v", "mv"), "cold"),
}
_SCF = ("scf", "relax", "vc-relax")


def read_xml(path: Path, place: str) -> Calculation:
    """A run of pw.x that converged.

    Raises:
        UnusableError: it is cut off, did not converge, is none of scf, relax and vc-relax, or has a functional no
            label is made of.
    """
    from ase.units import Bohr, Hartree

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if "<!ENTITY" in text:
            raise UnusableError("the file defines entities, which pw.x never does")
        root = fromstring(text)  # noqa: S314 -- without entities nothing expands
    except ParseError as error:
        raise UnusableError(f"unfinished: the file ends before its end ({error})") from error
    output, what = root.find("output"), _text(root, "input/control_variables/calculation")
    if output is None or root.find("closed") is None:
        raise UnusableError("unfinished: the file has no output")
    if what not in _SCF:
        raise UnusableError(f"a calculation {what!r}: only {', '.join(_SCF)} have an energy of their own")
    for step in ("scf_conv", *(["opt_conv"] if what != "scf" else [])):
        if _text(output, f"convergence_info/{step}/convergence_achieved") != "true":
            raise UnusableError(f"not converged ({step})")
    functional = check_functional(_functional(root, output))
    if float(_text(root, "input/bands/tot_charge") or 0):
        raise UnusableError("the cell is charged")
    structure = _crystal(output, Bohr)
    smearing = root.find("input/bands/smearing")
    energy = finite(_text(output, "total_energy/etot"), "the total energy")
    named = "none" if smearing is None else (smearing.text or "").strip().lower()
    kind = _SMEARING.get(named, named)
    if kind in ("fermi-dirac", "gaussian"):
        # demet = -TS; E(0) = (E + F)/2 to second order: M. J. Gillan, J. Phys.: Condens. Matter 1, 689 (1989)
        energy -= finite(_text(output, "total_energy/demet") or 0.0, "-TS") / 2
    numbers = {"energy": energy * Hartree / structure.n_atoms}
    if what == "vc-relax":
        numbers["volume"] = structure.volume / structure.n_atoms
    gap = _gap(output)
    if gap is not None:
        numbers["gap"] = gap * Hartree
    grid = root.find("input/k_points_IBZ/monkhorst_pack")
    settings: dict[str, Any] = {
        "cutoff_ev": finite(_text(output, "basis_set/ecutwfc"), "ecutwfc") * Hartree,
        "density_cutoff_ev": finite(_text(output, "basis_set/ecutrho"), "ecutrho") * Hartree,
        **({} if grid is None else {"kpoints": [int(grid.attrib[f"nk{i}"]) for i in (1, 2, 3)]}),
        **({} if grid is None else {"shift": [int(grid.attrib[f"k{i}"]) for i in (1, 2, 3)]}),
        "smearing": kind,
        "smearing_ev": 0.0 if smearing is None else finite(smearing.attrib.get("degauss"), "degauss") * Hartree,
        "spin": "polarized" if _text(output, "magnetization/lsda") == "true" else "closed shell",
        "pseudopotentials": {
            s.attrib["name"]: _text(s, "pseudo_file") for s in output.findall("atomic_species/species")
        },
    }
    creator = root.find("general_info/creator")
    steps = {"steps": float(len(root.findall("step")))} if what != "scf" else {}
    return Calculation(
        place,
        file_digest(path),
        "",
        "quantum espresso",
        "not stated" if creator is None else creator.attrib.get("VERSION", "not stated"),
        functional,
        _crystal(root.find("input"), Bohr),
        structure,
        numbers,
        settings,
        steps,
    )


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else (found.text or "").strip()


def _functional(root: Element, output: Element) -> str:
    name = _text(output, "dft/functional")
    name = "PBE" if name.upper() in _PBE else "HSE06" if name.upper() in ("HSE", "HSE06") else name
    extras = {
        "U": root.find("input/dft/dftU") is not None or output.find("dft/dftU") is not None,
        "van der Waals terms": output.find("dft/vdW") is not None,
        "spin-orbit coupling": _text(output, "magnetization/spinorbit") == "true",
        "spin in any direction": _text(output, "magnetization/noncolin") == "true",
    }
    return " + ".join([name, *(extra for extra, on in extras.items() if on)])


def _crystal(parent: Element | None, bohr: float) -> Crystal:
    from ase import Atoms

    found = None if parent is None else parent.find("atomic_structure")
    if found is None:
        raise UnusableError("the file has no structure")
    atoms = found.findall("atomic_positions/atom")
    symbols = ["".join(c for c in atom.attrib["name"] if c.isalpha())[:2].capitalize() for atom in atoms]
    positions = np.array([(atom.text or "").split() for atom in atoms], dtype=float) * bohr
    cell = np.array([_text(found, f"cell/a{i}").split() for i in (1, 2, 3)], dtype=float) * bohr
    if not len(atoms) or cell.shape != (3, 3):
        raise UnusableError("the structure is given by symmetry or is not whole")
    return validate(Crystal.from_ase(Atoms(symbols, positions, cell=cell, pbc=True)))


def _gap(output: Element) -> float | None:
    """Hartree; None where no empty band was computed, or electrons have a spin."""
    bands = output.find("band_structure")
    if bands is None or _text(bands, "lsda") == "true" or _text(bands, "noncolin") == "true":
        return None
    electrons = float(_text(bands, "nelec") or 0)
    values = [(k.text or "").split() for k in bands.findall("ks_energies/eigenvalues")]
    n = round(electrons) // 2
    if not values or min(map(len, values)) <= n:
        return None
    if round(electrons) % 2:
        return 0.0
    energies = np.array(values, dtype=float)
    return max(0.0, float(energies[:, n].min() - energies[:, n - 1].max()))
