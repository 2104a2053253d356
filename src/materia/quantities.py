"""The registry of physical quantities: one name, unit and display for each, used by every room.

A quantity here is a physical property *at one fidelity*: the PBE gap and the HSE06 gap are two
entries, so that values of different physics can never be pooled by accident.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from materia.errors import ConfigError


class Fidelity(StrEnum):
    """The physics a value claims."""

    PBE = "PBE"
    MP_PBE = "MP-PBE"  # Materials Project: PBE or PBE+U energies with their corrections
    HSE06 = "HSE06"
    PBESOL = "PBEsol"
    OPTB88VDW = "OptB88vdW"
    GLLB_SC = "GLLB-SC"
    PBE_SOC = "PBE+SOC"  # spin-orbit coupling on top of a PBE state
    HSE06_ON_PBE = "HSE06@PBE"  # HSE06 eigenvalues in PBE's orbitals
    HSE06_ON_PBE_SOC = "HSE06@PBE+SOC"  # the same, and spin-orbit coupling on top
    GLLB_SC_OWN = "GLLB-SC (own)"  # computed here, at a geometry of PBE
    RPA_ON_PBE = "RPA@PBE"  # the random-phase approximation, of PBE's orbitals and energies
    POTENTIAL = "potential"  # an interatomic potential; the level says which
    NONE = "none"  # not a computed electronic-structure value (tables, geometry)
    UNSTATED = "unstated"  # declared by a user who did not say


class Kind(StrEnum):
    """How a value goes with the size of the cell."""

    INTENSIVE = "intensive"  # a supercell has the same
    EXTENSIVE = "extensive"  # of the whole cell: a supercell of two has twice as much


class Form(StrEnum):
    """What a value is, and with it how a network learns and predicts it."""

    SCALAR = "scalar"  # any number, learned as it is
    LOG = "log"  # a positive number, learned as its decimal logarithm: where factors matter, or tails are heavy
    CLASS = "class"  # 0 or 1: the answer to a yes-or-no question; its probability is predicted
    TENSOR = "tensor"  # a symmetric positive definite 3x3 matrix in the frame of the structure's lattice vectors


@dataclass(frozen=True)
class Quantity:
    """One physical quantity.

    Attributes:
        name: field name in records, tables and files.
        symbol: as printed in figures (Matplotlib mathtext).
        unit: unit of every stored value; "1" where dimensionless.
        fidelity: the physics the value claims.
        title: for people.
        lower: physical lower bound, if there is one (predictions are clamped to it).
        kind: whether it grows with the cell.
        form: what its values are.
    """

    name: str
    symbol: str
    unit: str
    fidelity: Fidelity
    title: str
    lower: float | None = None
    kind: Kind = Kind.INTENSIVE
    form: Form = Form.SCALAR

    @property
    def label(self) -> str:
        """Title with unit, as put on axes and table heads."""
        return self.title if self.unit == "1" else f"{self.title} ({self.unit})"


FORMATION_ENERGY = "formation_energy_per_atom"
GAP_PBE = "gap_pbe"
GAP_DIRECT_PBE = "gap_direct_pbe"
BAND_OVERLAP = "band_overlap_pbe"
ENERGY = "energy_per_atom"
ENERGY_ABOVE_HULL = "energy_above_hull"
VOLUME = "volume_per_atom"
SUPPLY_RISK = "supply_risk"
FORMATION_ENERGY_MP = "formation_energy_per_atom_mp"
GAP_MP = "gap_pbe_mp"
ENERGY_ABOVE_HULL_MP = "energy_above_hull_mp"
GAP_HSE06 = "gap_hse06"
GAP_GLLBSC = "gap_gllbsc"
DIELECTRIC_ELECTRONIC = "dielectric_electronic"
DIELECTRIC_STATIC = "dielectric_static"
DIELECTRIC_ELECTRONIC_OWN = "dielectric_electronic_own"
DIELECTRIC_STATIC_OWN = "dielectric_static_own"
DIELECTRIC_ELECTRONIC_RPA = "dielectric_electronic_rpa"
ELECTRON_MASS = "electron_mass"
HOLE_MASS = "hole_mass"
GAP_SOC = "gap_pbe_soc"
GAP_HSE06_ON_PBE = "gap_hse06_on_pbe"
GAP_HSE06_SOC_ON_PBE = "gap_hse06_soc_on_pbe"
GAP_GLLBSC_OWN = "gap_gllbsc_own"
ELECTRON_MASS_EDGE = "electron_mass_edge"
HOLE_MASS_EDGE = "hole_mass_edge"
IS_METAL = "is_metal"
PHONON_PEAK = "phonon_peak"
BULK_MODULUS = "bulk_modulus"
SHEAR_MODULUS = "shear_modulus"
EXFOLIATION_ENERGY = "exfoliation_energy"
ENERGY_POTENTIAL = "energy_per_atom_potential"
VOLUME_POTENTIAL = "volume_per_atom_potential"
DISTORTION = "distortion_energy"
GAPS = (GAP_PBE, GAP_DIRECT_PBE, GAP_MP, GAP_HSE06, GAP_GLLBSC)

_ALL = (
    Quantity(FORMATION_ENERGY, "$E_f$", "eV/atom", Fidelity.PBE, "Formation energy, PBE"),
    Quantity(GAP_PBE, "$E_g$", "eV", Fidelity.PBE, "Band gap, PBE", lower=0.0),
    Quantity(GAP_DIRECT_PBE, "$E_g^{dir}$", "eV", Fidelity.PBE, "Direct band gap, PBE", lower=0.0),
    Quantity(
        BAND_OVERLAP, "$\\Delta_{ov}$", "eV", Fidelity.PBE, "Overlap of valence and conduction bands, PBE", lower=0.0
    ),
    Quantity(ENERGY, "$E$", "eV/atom", Fidelity.PBE, "Total energy, PBE"),
    Quantity(ENERGY_ABOVE_HULL, "$E_{hull}$", "eV/atom", Fidelity.PBE, "Energy above the known hull, PBE"),
    Quantity(VOLUME, "$V$", "Å³/atom", Fidelity.PBE, "Volume, PBE", lower=0.0),
    Quantity(SUPPLY_RISK, "$R$", "1", Fidelity.NONE, "Supply risk (HHI/10000)", lower=0.0),
    Quantity(FORMATION_ENERGY_MP, "$E_f^{MP}$", "eV/atom", Fidelity.MP_PBE, "Formation energy, Materials Project"),
    Quantity(GAP_MP, "$E_g^{MP}$", "eV", Fidelity.MP_PBE, "Band gap, Materials Project", lower=0.0),
    Quantity(
        ENERGY_ABOVE_HULL_MP,
        "$E_{hull}^{MP}$",
        "eV/atom",
        Fidelity.MP_PBE,
        "Energy above hull, Materials Project",
        lower=0.0,
    ),
    Quantity(GAP_HSE06, "$E_g^{HSE}$", "eV", Fidelity.HSE06, "Band gap, HSE06", lower=0.0),
    Quantity(GAP_GLLBSC, "$E_g^{GLLB}$", "eV", Fidelity.GLLB_SC, "Band gap, GLLB-SC", lower=0.0),
    # What the recipes beyond PBE compute (spin_orbit, hybrid, hybrid_spin_orbit, gllbsc, masses): never pooled with
    # published values.
    Quantity(GAP_SOC, "$E_g^{SOC}$", "eV", Fidelity.PBE_SOC, "Band gap, PBE with spin-orbit coupling", lower=0.0),
    Quantity(
        GAP_HSE06_ON_PBE, "$E_g^{HSE@PBE}$", "eV", Fidelity.HSE06_ON_PBE, "Band gap, HSE06 in PBE orbitals", lower=0.0
    ),
    Quantity(
        GAP_HSE06_SOC_ON_PBE,
        "$E_g^{HSE@PBE+SOC}$",
        "eV",
        Fidelity.HSE06_ON_PBE_SOC,
        "Band gap, HSE06 in PBE orbitals with spin-orbit coupling",
        lower=0.0,
    ),
    Quantity(
        GAP_GLLBSC_OWN,
        "$E_g^{GLLB}$",
        "eV",
        Fidelity.GLLB_SC_OWN,
        "Band gap, GLLB-SC with derivative discontinuity, computed here",
        lower=0.0,
    ),
    *(
        Quantity(name, symbol, "m_e", Fidelity.PBE_SOC, f"Effective mass of {whose}, band edge", 0.0, form=Form.LOG)
        for name, symbol, whose in ((ELECTRON_MASS_EDGE, "$m_e$", "electrons"), (HOLE_MASS_EDGE, "$m_h$", "holes"))
    ),
    Quantity(
        DIELECTRIC_ELECTRONIC_OWN,
        r"$\varepsilon_\infty$",
        "1",
        Fidelity.PBE,
        "Electronic dielectric constant, mean over directions, PBE, computed here",
        lower=1.0,
    ),
    Quantity(
        DIELECTRIC_STATIC_OWN,
        r"$\varepsilon_0$",
        "1",
        Fidelity.PBE,
        "Static dielectric constant, mean over directions, PBE, computed here",
        lower=1.0,
    ),
    Quantity(
        DIELECTRIC_ELECTRONIC_RPA,
        r"$\varepsilon_\infty^{RPA}$",
        "1",
        Fidelity.RPA_ON_PBE,
        "Electronic dielectric constant, mean over directions, random-phase approximation on PBE",
        lower=1.0,
    ),
    Quantity(IS_METAL, "$P(metal)$", "1", Fidelity.PBE, "Metal, PBE", form=Form.CLASS),
    # Petousis et al., Sci. Data 4, 160134 (2017): DFPT with the Materials Project's PBE and PBE+U
    Quantity(
        DIELECTRIC_ELECTRONIC,
        r"$\varepsilon_\infty$",
        "1",
        Fidelity.MP_PBE,
        "Electronic dielectric tensor, DFPT with PBE or PBE+U",
        form=Form.TENSOR,
    ),
    Quantity(
        DIELECTRIC_STATIC,
        r"$\varepsilon_0$",
        "1",
        Fidelity.MP_PBE,
        "Static dielectric constant, mean over directions, DFPT with PBE or PBE+U",
        lower=1.0,
    ),
    # Ricci et al., Sci. Data 4, 170085 (2017): BoltzTraP on bands of the Materials Project, 300 K, 1e18 per cm3
    *(
        Quantity(
            name, symbol, "m_e", Fidelity.MP_PBE, f"Conductivity effective mass of {whose} at 300 K", 0.0, form=Form.LOG
        )
        for name, symbol, whose in ((ELECTRON_MASS, "$m_n$", "electrons"), (HOLE_MASS, "$m_p$", "holes"))
    ),
    # Petretto et al., Sci. Data 5, 180065 (2018)
    Quantity(
        PHONON_PEAK, r"$\omega_{last}$", "1/cm", Fidelity.PBESOL, "Last peak of the phonon DOS, PBEsol", lower=0.0
    ),
    # de Jong et al., Sci. Data 2, 150009 (2015)
    Quantity(BULK_MODULUS, "$K$", "GPa", Fidelity.PBE, "Bulk modulus (Voigt-Reuss-Hill), PBE", 0.0, form=Form.LOG),
    Quantity(SHEAR_MODULUS, "$G$", "GPa", Fidelity.PBE, "Shear modulus (Voigt-Reuss-Hill), PBE", 0.0, form=Form.LOG),
    # Choudhary et al., npj Comput. Mater. 6, 173 (2020): JARVIS-DFT
    Quantity(
        EXFOLIATION_ENERGY,
        "$E_{exf}$",
        "meV/atom",
        Fidelity.OPTB88VDW,
        "Exfoliation energy, OptB88vdW",
        0.0,
        form=Form.LOG,
    ),
    Quantity(ENERGY_POTENTIAL, "$E$", "eV/atom", Fidelity.POTENTIAL, "Energy, interatomic potential"),
    Quantity(VOLUME_POTENTIAL, "$V$", "Å³/atom", Fidelity.POTENTIAL, "Volume, interatomic potential", lower=0.0),
    Quantity(DISTORTION, "$E_{dist}$", "eV/atom", Fidelity.POTENTIAL, "Energy gained by distorting, potential"),
)

REGISTRY: dict[str, Quantity] = {q.name: q for q in _ALL}


def quantity(name: str) -> Quantity:
    """The registered quantity of that name.

    Raises:
        ConfigError: the name is not registered; the message lists those that are.
    """
    try:
        return REGISTRY[name]
    except KeyError:
        raise ConfigError(f"unknown quantity {name!r}", remedy=f"use one of: {', '.join(sorted(REGISTRY))}") from None


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_ENTRIES = ("unit", "kind", "lower", "title", "fidelity")


def declare(
    name: str,
    *,
    unit: str,
    kind: str = Kind.INTENSIVE,
    lower: float | None = None,
    title: str = "",
    fidelity: str = Fidelity.UNSTATED,
    form: str = Form.SCALAR,
) -> Quantity:
    """A quantity that is not in the registry, as the user states it. Nothing is registered.

    A registered name gives what is registered. Only whether a number is learned as it is or as its logarithm may be
    declared otherwise; then the declaration counts in full.

    Raises:
        ConfigError: a name that is no name, a registered name with another unit, kind or form, no such kind, fidelity
            or form, a lower bound or kind that does not go with the others.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a quantity", remedy="use letters, digits and underscores; the first is a letter"
        )
    if not unit:
        raise ConfigError(f"the quantity {name} has no unit", remedy='give one; "1" where it is dimensionless')
    for given, known, what in ((kind, Kind, "kind"), (fidelity, Fidelity, "fidelity"), (form, Form, "form")):
        if given not in [member.value for member in known]:
            raise ConfigError(f"the quantity {name} has the {what} {given!r}", remedy=f"use one of: {', '.join(known)}")
    if kind == Kind.EXTENSIVE and lower not in (None, 0.0):
        raise ConfigError(
            f"the extensive quantity {name} has the lower bound {lower}",
            remedy="only zero means the same for every size of the cell",
        )
    if form == Form.LOG and lower not in (None, 0.0):
        raise ConfigError(
            f"{name} is learned as a logarithm and has the lower bound {lower}",
            remedy="a logarithm has the bound zero: leave the bound out, or declare a scalar",
        )
    if form in (Form.CLASS, Form.TENSOR) and (lower is not None or kind == Kind.EXTENSIVE):
        raise ConfigError(f"{name} is a {form}: it is intensive and has no lower bound", remedy="leave both out")
    if form == Form.LOG:
        lower = 0.0
    registered = REGISTRY.get(name)
    declared = Quantity(
        name, name, unit, Fidelity(fidelity), title or name.replace("_", " "), lower, Kind(kind), Form(form)
    )
    if registered is None:
        return declared
    if (registered.unit, registered.kind) != (unit, kind):
        raise ConfigError(
            f"{name} is registered as {registered.kind} in {registered.unit}, not as {kind} in {unit}",
            remedy="convert the values, or give the quantity another name",
        )
    if registered.form == form:
        return registered
    if {registered.form, declared.form} == {Form.SCALAR, Form.LOG}:
        return declared
    raise ConfigError(
        f"{name} is registered as a {registered.form}, not as a {form}", remedy="give the quantity another name"
    )


def parse_quantity(text: str) -> Quantity:
    """A declaration ``name:unit[:kind[:lower]]``, such as ``hardness:GPa:intensive:0``; see :func:`declare`.

    A form may stand anywhere behind the unit: ``hardness:GPa:log``, ``polarisability:1:tensor``.

    Raises:
        ConfigError: it is not of that form, or says what cannot be.
    """
    name, *rest = (part.strip() for part in text.split(":"))
    forms = [part for part in rest[1:] if part in [form.value for form in Form]]
    rest = rest[:1] + [part for part in rest[1:] if part not in forms]
    try:
        (form,) = forms or [Form.SCALAR.value]
        unit, kind, lower = [*rest, *("", Kind.INTENSIVE.value, "")[len(rest) :]]
        bound = float(lower) if lower else None
    except ValueError:
        raise ConfigError(
            f"{text!r} declares no quantity", remedy="write name:unit:kind, such as hardness:GPa:intensive"
        ) from None
    return declare(name, unit=unit, kind=kind, lower=bound, form=form)


def quantity_record(found: Quantity) -> dict[str, Any]:
    """JSON form of what :func:`declare` takes, the name apart; a scalar's form is not written."""
    record = {entry: getattr(found, entry) for entry in _ENTRIES}
    return record if found.form is Form.SCALAR else {**record, "form": found.form}
