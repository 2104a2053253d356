"""Documents of databases: tasks of atomate2 and emmet, and summaries of the Materials Project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from materia.crystal import Crystal, validate
from materia.data._tables import structure_of
from materia.data.calculations._calculation import Calculation, UnusableError, check_functional, finite, record_digest
from materia.data.calculations._vasp import functional_of, smearing_of
from materia.quantities import Fidelity


def task_in(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The task document in a record: the record itself, or what a job store of jobflow keeps as a job's output."""
    for found in (record, record.get("output")):
        output = found.get("output") if isinstance(found, Mapping) else None
        if isinstance(output, Mapping) and "structure" in output and "energy" in output:
            return found
    return None


def is_summary(record: Mapping[str, Any]) -> bool:
    """Whether it looks like a summary of the Materials Project."""
    return "material_id" in record and "structure" in record and "output" not in record


def read_task(record: Mapping[str, Any], place: str) -> Calculation:
    """A task of atomate2 (emmet's TaskDoc), as ``TaskDoc.model_dump(mode="json")`` or MongoDB export it.

    Raises:
        UnusableError: it is not marked as successful, or has a functional no label is made of.
    """
    output: Mapping[str, Any] = record["output"]
    state = _plain(record.get("state"))
    if state and state != "successful":
        raise UnusableError(f"not converged or unfinished: the task's state is {state!r}")
    given = _part(record, "input")
    last = (record.get("calcs_reversed") or [{}])[0] or {}
    parameters = {**_part(_part(record, "orig_inputs"), "incar"), **_part(given, "incar"), **_part(given, "parameters")}
    pseudo = given.get("potcar_spec") or _part(record, "orig_inputs").get("potcar_spec") or []
    titles = [str(spec.get("titel", "")) for spec in pseudo if isinstance(spec, Mapping)]
    if not parameters and not titles:
        raise UnusableError("the task names no input parameters: what it was computed with is not known")
    hubbards = given.get("hubbards") or record.get("hubbards") or {}
    hubbard = bool(given.get("is_hubbard")) or any(float(u) for u in hubbards.values())
    hubbard |= bool(parameters.get("LDAU")) and not hubbards
    functional = check_functional(functional_of(parameters, titles, hubbard=hubbard))
    structure = _crystal(output["structure"])
    first = given.get("structure")
    numbers = {"energy": finite(output["energy"], "output.energy") / structure.n_atoms}
    gap = output.get("bandgap", output.get("band_gap"))
    if gap is not None:
        numbers["gap"] = max(0.0, finite(gap, "output.bandgap"))
    moving = int(parameters.get("NSW") or 0) > 1
    if moving and int(parameters.get("ISIF") or 2) in (3, 6, 7):
        numbers["volume"] = structure.volume / structure.n_atoms
    kpoints = _part(given, "kpoints") or _part(_part(record, "orig_inputs"), "kpoints")
    grid = (kpoints.get("kpoints") or [[]])[0] if int(kpoints.get("nkpoints") or 0) == 0 else []
    settings: dict[str, Any] = {
        "cutoff_ev": finite(parameters.get("ENMAX") or parameters.get("ENCUT") or 0.0, "the cutoff"),
        **({"kpoints": [int(n) for n in grid]} if len(grid) == 3 else {}),
        **smearing_of(parameters),
        "spin": "polarized" if int(parameters.get("ISPIN") or 1) == 2 else "closed shell",
        "pseudopotentials": {title.split()[1].split("_")[0]: title for title in titles if len(title.split()) > 1},
    }
    return Calculation(
        place,
        record_digest(record),
        str(record.get("task_id") or record.get("uuid") or ""),
        "vasp",
        str(last.get("vasp_version") or record.get("vasp_version") or "not stated"),
        functional,
        structure if first is None else _crystal(first),
        structure,
        numbers,
        settings,
    )


def read_summary(record: Mapping[str, Any], place: str) -> Calculation:
    """An entry of the summary endpoint. Its energies carry corrections: a fidelity of their own.

    Raises:
        UnusableError: it is deprecated, of another scheme of energies, or has no value that is known here.
    """
    if record.get("deprecated"):
        raise UnusableError("the Materials Project has withdrawn this entry (deprecated)")
    scheme = str(_plain(record.get("thermo_type")) or "")
    if "R2SCAN" in scheme.upper():
        raise UnusableError(f"its energies are of the scheme {scheme}: known is the one of GGA and GGA+U")
    structure = _crystal(record["structure"])
    numbers: dict[str, float] = {}
    fields = {"formation": "formation_energy_per_atom", "gap": "band_gap", "above_hull": "energy_above_hull"}
    for name, key in fields.items():
        if record.get(key) is not None:
            numbers[name] = finite(record[key], key)
    if not numbers:
        raise UnusableError(f"it has none of {', '.join(fields.values())}")
    version = str(_part(record, "builder_meta").get("database_version") or "not stated")
    settings = {"database_version": version, **({"thermo_type": scheme} if scheme else {})}
    return Calculation(
        place,
        record_digest(record),
        str(record["material_id"]),
        "materials project",
        version,
        Fidelity.MP_PBE,
        structure,
        structure,
        numbers,
        settings,
    )


def _crystal(value: Any) -> Crystal:
    if isinstance(value, Mapping) and "sites" in value:
        value = {"@module": "pymatgen.core.structure", "@class": "Structure", **value}
    return validate(structure_of(dict(value) if isinstance(value, Mapping) else value))


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _plain(value: Any) -> Any:
    """Enumerations as MSONable writes them (``{"@class": ..., "value": ...}``), or as text."""
    return value.get("value") if isinstance(value, Mapping) else value
