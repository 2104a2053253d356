"""Generation: what comes out, what is counted, what is refused."""

import json
import time

import pytest

from materia.crystal import Crystal, electronegativity, shortest_distance, structure_hash, write_structure
from materia.elements import OPEN_SHELL, SCARCE, TOXIC, closed_shell_charges
from materia.errors import ElementError, SpaceError, StructureError
from materia.space import SpaceSettings, balanced_charges, build_prototype, generate, likely_charges

SMALL = {"elements": ["Li", "Zn", "Ga", "P", "N", "S", "Cu"], "exclude": []}


@pytest.fixture(scope="module")
def clean():
    return generate(SpaceSettings())


def test_the_default_space_is_large_and_clean(clean):
    assert len(clean) >= 5000
    assert len(set(clean.prototypes)) >= 8
    banned = TOXIC | SCARCE | OPEN_SHELL
    for i in range(len(clean)):
        elements = clean.crystal(i).elements
        assert len(elements) in (2, 3)
        assert banned.isdisjoint(elements), clean.ids[i]
        assert clean.crystal(i).n_atoms <= 8


def test_known_semiconductors_are_in_it(clean):
    known = (
        "GaN-wurtzite AlP-zincblende MgO-rocksalt SnS-ges Cu2O-cuprite Mg2Si-antifluorite CaZn2P2-caal2si2 "
        "BaZrS3-perovskite GaCuS2-chalcopyrite LiZnP-half-heusler TiO2-anatase TiO2-rutile VCu3S4-sulvanite "
        "ZnSnN2-chalcopyrite SnO-litharge ZrS2-cdi2 MoS2-molybdenite Mg3N2-mg3sb2 SrTiO3-perovskite"
    )
    for name in known.split():
        assert clean.candidate(clean.index(name)).prototype == name.split("-", 1)[1]


def test_every_generated_candidate_balances_and_is_unique(clean):
    hashes = set()
    for candidate in clean.candidates:
        charges = candidate.origin["charges"]
        composition = candidate.crystal.composition
        assert sum(charges[s] * n for s, n in composition.items()) == 0
        cations = [electronegativity(s) for s, q in charges.items() if q > 0]
        anions = [electronegativity(s) for s, q in charges.items() if q < 0]
        assert max(cations) < min(anions)
        hashes.add(structure_hash(candidate.crystal))
    assert len(hashes) == len(clean) == len(set(clean.ids))


def test_bonds_are_those_of_crystals(clean):
    for i in range(0, len(clean), 97):
        distance, *_ = shortest_distance(clean.crystal(i))
        assert 1.2 < distance < 4.5, clean.ids[i]


def test_the_funnel_only_narrows_and_ends_at_the_pool(clean):
    counts = [step["n"] for step in clean.funnel]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == len(clean)
    names = [step["step"] for step in clean.funnel]
    assert names.index("without toxic") < names.index("without scarce") < names.index("without open_shell")


def test_same_settings_same_hash_whatever_their_order():
    one = generate(SpaceSettings(**SMALL))
    two = generate(SpaceSettings(**{**SMALL, "elements": SMALL["elements"][::-1]}))
    assert one.hash == two.hash
    assert one.ids == two.ids == sorted(one.ids)
    assert generate(SpaceSettings(**{**SMALL, "max_atoms": 4})).hash != one.hash


def test_ids_do_not_depend_on_what_else_is_in_the_space():
    large = generate(SpaceSettings(exclude=[], arity=[3], prototypes=["delafossite", "perovskite"]))
    small = generate(
        SpaceSettings(elements=["Ge", "Sn", "S", "Cu", "Al", "O"], exclude=[], prototypes=["delafossite", "perovskite"])
    )
    for i in range(len(small)):
        same = large.crystal(large.index(small.ids[i]))
        assert structure_hash(same) == structure_hash(small.crystal(i))
    # both orders of two cations on different sites, told apart by name
    assert {"AlCuO2-delafossite", "AlCuO2-delafossite-AlCuO"} <= set(small.ids)
    assert small.crystal(small.index("AlCuO2-delafossite")).symbols[0] == "Cu"


def test_equivalent_assignments_appear_once():
    pool = generate(SpaceSettings(elements=["Cu", "Ga", "S"], exclude=[], prototypes=["chalcopyrite"]))
    assert pool.ids == ["GaCuS2-chalcopyrite"]


def test_the_larger_ion_takes_the_larger_site():
    pool = generate(SpaceSettings(elements=["Sr", "Ti", "O"], exclude=[], prototypes=["perovskite"]))
    assert pool.ids == ["SrTiO3-perovskite"]
    crystal = pool.crystal(0)
    assert crystal.symbols[0] == "Sr"
    inverse = generate(SpaceSettings(elements=["Ba", "Li", "F"], exclude=[], prototypes=["perovskite"]))
    assert inverse.ids == ["BaLiF3-perovskite"]


def test_speed():
    started = time.process_time()
    pool = generate(SpaceSettings(arity=(2,)))
    assert (time.process_time() - started) / len(pool) < 0.01, "seconds per candidate"


def test_an_empty_pool_names_the_filter_that_emptied_it():
    with pytest.raises(SpaceError, match="'without toxic' removed the last of 1 candidates"):
        generate(SpaceSettings(elements=["Cd", "Te"], prototypes=["zincblende"]))
    with pytest.raises(SpaceError, match="'elements asked for'"):
        generate(SpaceSettings(elements=["Na", "K"], exclude=[], prototypes=["rocksalt"]))
    with pytest.raises(SpaceError, match=r"4 elements"):
        generate(SpaceSettings(arity=(4,), prototypes=["rocksalt"]))
    with pytest.raises(SpaceError, match="neither prototypes nor files"):
        generate(SpaceSettings(prototypes=[]))


def test_bad_settings_name_key_and_remedy():
    with pytest.raises(ElementError) as caught:
        SpaceSettings(elements=["Zn", "Xy"])
    assert "'Xy'" in str(caught.value) and "space.elements" in str(caught.value)
    with pytest.raises(ElementError, match="did you mean toxic"):
        SpaceSettings(exclude=["toxik"])
    with pytest.raises(ElementError, match="Fe has no common closed-shell ion"):
        SpaceSettings(elements=["Fe", "O"])
    with pytest.raises(SpaceError, match="did you mean rocksalt"):
        SpaceSettings(prototypes=["rocksal"])
    with pytest.raises(ValueError, match="max_atom\n"):
        SpaceSettings(max_atom=3)


def test_symbols_can_be_excluded_one_by_one():
    settings = SpaceSettings(
        elements=["Ga", "Al", "N", "P"], exclude=["Al", "P"], prototypes=["zincblende", "wurtzite"]
    )
    assert generate(settings).ids == ["GaN-wurtzite", "GaN-zincblende"]


def test_quaternaries_when_asked():
    pool = generate(SpaceSettings(elements=["Cu", "Zn", "Sn", "S"], exclude=[], arity=[4]))
    assert pool.index("ZnCu2SnS4-kesterite") >= 0


class TestFiles:
    def test_own_structures_join_the_pool(self, tmp_path):
        write_structure(build_prototype("zincblende", ["Ga", "P"]).scaled_to_volume(42.0), tmp_path / "mine.cif")
        pool = generate(SpaceSettings(**SMALL, prototypes=["wurtzite"], files=[tmp_path / "mine.cif"]))
        mine = pool.candidate(pool.index("GaP-mine"))
        assert mine.crystal.volume == pytest.approx(42.0, rel=1e-4)
        assert mine.origin["file"] == "mine.cif"
        assert "GaP-wurtzite" in pool.ids

    def test_a_generated_duplicate_of_a_file_gives_way(self, tmp_path):
        write_structure(build_prototype("zincblende", ["Ga", "P"]).scaled_to_volume(42.0), tmp_path / "mine.cif")
        pool = generate(SpaceSettings(**SMALL, prototypes=["zincblende"], files=[tmp_path / "mine.cif"]))
        assert "GaP-mine" in pool.ids
        assert "GaP-zincblende" not in pool.ids

    def test_bad_files_of_a_folder_are_quarantined_and_the_rest_goes_on(self, tmp_path):
        write_structure(build_prototype("zincblende", ["Ga", "P"]), tmp_path / "good.cif")
        overlap = Crystal.from_species([[4, 0, 0], [0, 4, 0], [0, 0, 4]], ["Ga", "P"], [[0, 0, 0], [0.1, 0, 0]])
        write_structure(overlap, tmp_path / "overlap.cif")
        (tmp_path / "garbage.cif").write_text("this is no structure")
        (tmp_path / "notes.txt").write_text("not looked at")
        pool = generate(SpaceSettings(prototypes=[], exclude=[], files=[tmp_path]))
        assert pool.ids == ["GaP-good"]
        reasons = {q["name"].rsplit("/", 1)[1]: q["reason"] for q in pool.quarantine}
        assert set(reasons) == {"overlap.cif", "garbage.cif"}
        assert "overlap" in reasons["overlap.cif"]

    def test_a_bad_file_that_is_named_is_an_error(self, tmp_path):
        overlap = Crystal.from_species([[4, 0, 0], [0, 4, 0], [0, 0, 4]], ["Ga", "P"], [[0, 0, 0], [0.1, 0, 0]])
        write_structure(overlap, tmp_path / "overlap.cif")
        with pytest.raises(StructureError, match=r"overlap\.cif"):
            generate(SpaceSettings(prototypes=[], files=[tmp_path / "overlap.cif"]))
        with pytest.raises(StructureError, match=r"absent\.cif"):
            generate(SpaceSettings(prototypes=[], files=[tmp_path / "absent.cif"]))
        with pytest.raises(SpaceError, match="no structure file"):
            generate(SpaceSettings(prototypes=[], files=[tmp_path / "*.vasp"]))

    def test_filters_hold_for_files_too(self, tmp_path):
        write_structure(build_prototype("zincblende", ["Cd", "Te"]), tmp_path / "toxic.cif")
        with pytest.raises(SpaceError, match="pool is empty"):
            generate(SpaceSettings(prototypes=[], files=[tmp_path / "toxic.cif"]))

    def test_records_keep_their_own_names(self, tmp_path):
        crystal = build_prototype("zincblende", ["Ga", "P"])
        row = {"id": "GaP-mine-7", "prototype": "zincblende", "structure": crystal.to_record()}
        (tmp_path / "set.jsonl").write_text(json.dumps(row) + "\n")
        pool = generate(SpaceSettings(prototypes=[], exclude=[], files=[tmp_path / "set.jsonl"]))
        assert (pool.ids, pool.prototypes) == (["GaP-mine-7"], ["zincblende"])

    def test_files_of_one_name_get_ids_of_their_own(self, tmp_path):
        for k, folder in enumerate(("a", "b")):
            (tmp_path / folder).mkdir()
            crystal = build_prototype("zincblende", ["Ga", "P"]).scaled_to_volume(40.0 + k)
            write_structure(crystal, tmp_path / folder / "x.cif")
        files = [tmp_path / "a" / "x.cif", tmp_path / "b" / "x.cif"]
        pool = generate(SpaceSettings(prototypes=[], exclude=[], files=files))
        assert pool.ids == ["GaP-x", "GaP-x-file2"]


def test_balanced_charges():
    assert list(balanced_charges(["Sn", "S"], [1, 2])) == [(4, -2)]
    assert list(balanced_charges(["Sn", "S"], [1, 1])) == [(2, -2)]
    assert list(balanced_charges(["Pb", "Te"], [1, 1])) == [(2, -2)]
    assert list(balanced_charges(["Na", "Cl"], [1, 2])) == []
    assert list(balanced_charges(["O", "F"], [1, 2])) == [], "two anions"
    assert likely_charges(("Ga", "As"), (1, 1)) == (3, -3)
    assert closed_shell_charges("Fe") == ()
