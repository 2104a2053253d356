"""Every prototype: its symmetry, its size against PBE, its coordination."""

import numpy as np
import pytest
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher

from materia.crystal import prototype_label, structure_hash, validate
from materia.errors import ElementError, SpaceError
from materia.space import PROTOTYPES, build_prototype, prototype


@pytest.mark.parametrize("name", PROTOTYPES)
def test_symmetry_is_that_of_the_prototype(name):
    proto = PROTOTYPES[name]
    crystal = validate(build_prototype(name, proto.example))
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    assert spglib.get_symmetry_dataset(cell, symprec=1e-3).number == proto.spacegroup
    assert len(spglib.find_primitive(cell)[2]) == proto.n_atoms, "the cell is primitive"
    assert crystal.n_atoms == sum(proto.counts)
    assert np.linalg.det(crystal.lattice) > 0, "right-handed"


LABELS = {
    "diamond": "A_227_b",
    "rocksalt": "AB_225_a_b",
    "cesium-chloride": "AB_221_a_b",
    "wurtzite": "AB_186_b_b",
    "ges": "AB_62_c_c",
    "antifluorite": "AB2_225_a_c",
    "fluorite": "AB2_225_a_c",
    "cuprite": "AB2_224_a_b",
    "rutile": "AB2_136_a_f",
    "anatase": "AB2_141_a_e",
    "cdi2": "AB2_164_a_d",
    "reo3": "AB3_221_a_d",
    "perovskite": "ABC3_221_a_b_c",
    "antiperovskite": "ABC3_221_a_b_c",
    "chalcopyrite": "ABC2_122_a_b_d",
    "nafeo2": "ABC2_166_a_b_c",
    "delafossite": "ABC2_166_a_b_c",
    "caal2si2": "AB2C2_164_a_d_d",
    "sulvanite": "AB3C4_215_a_d_e",
    "k2nif4": "AB2C4_139_a_e_ce",
    "k2ptcl6": "AB2C6_225_a_c_e",
}


@pytest.mark.parametrize(("name", "label"), LABELS.items())
def test_wyckoff_letters_are_those_of_the_tables(name, label):
    assert prototype_label(build_prototype(name, PROTOTYPES[name].example)) == label


# lattice constants of the conventional cubic cell in PBE, Å
PBE = [
    ("diamond", "Si", 5.47),
    ("zincblende", "Ga As", 5.76),
    ("zincblende", "Zn S", 5.45),
    ("zincblende", "Cu Cl", 5.43),
    ("zincblende", "Al N", 4.40),
    ("zincblende", "Cd Te", 6.62),
    ("rocksalt", "Mg O", 4.26),
    ("rocksalt", "Na Cl", 5.70),
    ("rocksalt", "Li F", 4.07),
    ("rocksalt", "K Cl", 6.40),
    ("rocksalt", "Na I", 6.56),
    ("rocksalt", "Ba Te", 7.08),
    ("antifluorite", "Mg Si", 6.37),
    ("fluorite", "Ca F", 5.52),
    ("half-heusler", "Li Zn P", 5.77),
    ("perovskite", "Sr Ti O", 3.95),
    ("perovskite", "Cs Sn I", 6.28),
]


def lattice_constant(name, species):
    crystal = build_prototype(name, species.split())
    cells = 1 if name == "perovskite" else 4
    return (crystal.volume * cells) ** (1 / 3)


def test_sizes_are_near_pbe():
    errors = [lattice_constant(name, species) / a - 1 for name, species, a in PBE]
    assert np.mean(np.abs(errors)) < 0.0125
    assert np.max(np.abs(errors)) < 0.03
    assert abs(np.mean(errors)) < 0.01, "no systematic swelling or shrinking"


# cations around each anion or the other way round, as textbooks draw them
NEIGHBOURS = [
    ("rocksalt", "Mg O", "Mg", "O", 6),
    ("zincblende", "Zn S", "Zn", "S", 4),
    ("wurtzite", "Zn S", "Zn", "S", 4),
    ("cesium-chloride", "Cs Cl", "Cs", "Cl", 8),
    ("boron-nitride", "B N", "B", "N", 3),
    ("antifluorite", "Mg Si", "Si", "Mg", 8),
    ("fluorite", "Ca F", "Ca", "F", 8),
    ("rutile", "Ti O", "Ti", "O", 6),
    ("anatase", "Ti O", "Ti", "O", 6),
    ("cristobalite", "Si O", "Si", "O", 4),
    ("cuprite", "Cu O", "Cu", "O", 2),
    ("cdi2", "Zr S", "Zr", "S", 6),
    ("cdcl2", "Mg Cl", "Mg", "Cl", 6),
    ("molybdenite", "Mo S", "Mo", "S", 6),
    ("bii3", "Sc Cl", "Sc", "Cl", 6),
    ("reo3", "Al F", "Al", "F", 6),
    ("half-heusler", "Li Zn P", "P", "Zn", 4),
    ("half-heusler", "Li Zn P", "P", "Li", 4),
    ("ordered-fluorite", "Y O F", "Y", "O", 4),
    ("perovskite", "Sr Ti O", "Ti", "O", 6),
    ("perovskite", "Sr Ti O", "Sr", "O", 12),
    ("antiperovskite", "Ca N Bi", "N", "Ca", 6),
    ("chalcopyrite", "Cu Ga S", "Cu", "S", 4),
    ("cuau-chalcopyrite", "Cu Ga S", "Ga", "S", 4),
    ("nafeo2", "Na In O", "In", "O", 6),
    ("gamma-lifeo2", "Li Sc O", "Sc", "O", 6),
    ("delafossite", "Cu Al O", "Cu", "O", 2),
    ("delafossite", "Cu Al O", "Al", "O", 6),
    ("caal2si2", "Ca Zn P", "Zn", "P", 4),
    ("caal2si2", "Ca Zn P", "Ca", "P", 6),
    ("sulvanite", "Cu V S", "V", "S", 4),
    ("sulvanite", "Cu V S", "Cu", "S", 4),
    ("famatinite", "Cu Sb S", "Sb", "S", 4),
    ("defect-chalcopyrite", "Cd Ga Se", "Ga", "Se", 4),
    ("kesterite", "Cu Zn Sn S", "Zn", "S", 4),
    ("k2ptcl6", "Cs Sn I", "Sn", "I", 6),
    ("k2nif4", "Sr Ti O", "Ti", "O", 6),
]


@pytest.mark.parametrize(("name", "species", "centre", "around", "n"), NEIGHBOURS)
def test_coordination(name, species, centre, around, n):
    structure = build_prototype(name, species.split()).to_pymatgen()
    for site in structure:
        if site.specie.symbol != centre:
            continue
        near = sorted(x.nn_distance for x in structure.get_neighbors(site, 8.0) if x.specie.symbol == around)
        assert near[n - 1] < 1.12 * near[0], "one shell"
        assert near[n] > 1.12 * near[n - 1], "and nothing just outside"


def test_the_same_species_may_fill_several_roles():
    crystal = build_prototype("half-heusler", ["Li", "Li", "P"])
    assert crystal.composition == {"Li": 2, "P": 1}
    antifluorite = build_prototype("antifluorite", ["Li", "P"])
    assert StructureMatcher(scale=True).fit(crystal.to_pymatgen(), antifluorite.to_pymatgen())


def test_a_larger_ion_gives_a_larger_cell():
    for name, series in {"rocksalt": ["Li", "Na", "K", "Rb"], "antifluorite": ["Li", "Na", "K"]}.items():
        anion = "Cl" if name == "rocksalt" else "O"
        volumes = [build_prototype(name, [s, anion]).volume for s in series]
        assert volumes == sorted(volumes)


def test_size_without_balanced_charges_is_still_physical():
    assert validate(build_prototype("rocksalt", ["Fe", "Ni"])).volume > 10


def test_building_twice_gives_the_same_hash():
    first, second = (build_prototype("chalcopyrite", ["Cu", "Ga", "S"]) for _ in range(2))
    assert structure_hash(first) == structure_hash(second)


def test_bad_requests_are_explained():
    with pytest.raises(SpaceError, match="did you mean zincblende"):
        prototype("zinkblende")
    with pytest.raises(SpaceError, match="takes 3 species"):
        build_prototype("perovskite", ["Sr", "Ti"])
    with pytest.raises(ElementError, match="'Xx'"):
        build_prototype("rocksalt", ["Xx", "O"])
