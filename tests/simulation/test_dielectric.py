"""Dielectric tensors: by hand from two atoms on a spring, and of silicon carbide by pw.x and ph.x."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from espresso_pseudos import EXAMPLES, copy_chosen, use
from materia.crystal import Crystal
from materia.simulation import ESPRESSO_ROUGH, Failure, Reason, engine, lacking
from materia.simulation.engines import Capabilities, Response, _phonon
from materia.simulation.engines._phonon import read_matrix
from materia.simulation.engines.espresso import EspressoEngine
from materia.simulation.recipes import dielectric
from materia.simulation.recipes._dielectric import tensors
from materia.space import build_prototype

ELECTRONIC, CHARGE, SPRING, VOLUME = 3.0, 2.0, 10.0, 20.0
MASSES = np.array([20.0, 5.0])


def springs(constant: float = SPRING, charge: np.ndarray | None = None) -> Response:
    """Two atoms with opposite charges on an isotropic spring (eV/Å²)."""
    one = CHARGE * np.eye(3) if charge is None else charge
    return Response(
        electronic=ELECTRONIC * np.eye(3),
        charges=np.array([one, -one]),
        force_constants=np.kron(np.array([[1, -1], [-1, 1]]), constant * np.eye(3)),
    )


def test_two_atoms_on_a_spring() -> None:
    """4 pi e²/V Z²/k on top; a frequency of sqrt(k/m) with the reduced mass, 521.47 1/cm for 1 eV/(Å² u)."""
    found = tensors(springs(), VOLUME, MASSES)
    ionic = 4 * np.pi * 14.399645 / VOLUME * CHARGE**2 / SPRING
    assert np.allclose(found["dielectric_static"], (ELECTRONIC + ionic) * np.eye(3))
    assert found["dielectric_static_own"] == pytest.approx(ELECTRONIC + ionic)
    assert found["dielectric_electronic_own"] == pytest.approx(ELECTRONIC)
    assert found["frequencies"] == pytest.approx([521.47 * np.sqrt(SPRING / 4.0)] * 3, rel=1e-4)
    assert not found["unstable"]


def test_the_tensors_turn_with_the_crystal() -> None:
    turn = Rotation.from_euler("xyz", [0.3, -0.8, 1.1]).as_matrix()
    uneven = np.diag([1.0, 2.0, 3.0])
    straight = np.array(tensors(springs(charge=uneven), VOLUME, MASSES)["dielectric_static"])
    turned = np.array(tensors(springs(charge=turn @ uneven @ turn.T), VOLUME, MASSES)["dielectric_static"])
    assert np.allclose(turned, turn @ straight @ turn.T)
    assert np.ptp(np.diag(straight)) > 1


def test_a_cell_twice_as_large_has_the_same_tensor() -> None:
    """Two copies that do not feel each other, in twice the volume."""
    one = springs()
    twice = Response(one.electronic, np.tile(one.charges, (2, 1, 1)), np.kron(np.eye(2), one.force_constants))
    both = tensors(twice, 2 * VOLUME, np.tile(MASSES, 2))
    # between the copies nothing holds: three displacements are soft, which is said instead of divided by
    assert both["unstable"] and "dielectric_static" not in both
    held = Response(one.electronic, twice.charges, twice.force_constants + np.kron(_between(), np.eye(3)))
    assert np.allclose(
        tensors(held, 2 * VOLUME, np.tile(MASSES, 2))["dielectric_static"],
        tensors(one, VOLUME, MASSES)["dielectric_static"],
    )


def _between() -> np.ndarray:
    """A spring between the copies as wholes: atoms 0 and 1 against atoms 2 and 3."""
    pull = np.array([1.0, 1.0, -1.0, -1.0])
    return 3.0 * np.outer(pull, pull)


def test_what_does_not_add_up_is_mended_by_the_sum_rules() -> None:
    exact = springs()
    off = Response(exact.electronic, exact.charges + 0.03 * np.eye(3), exact.force_constants + 0.01 * np.eye(6))
    mended = tensors(off, VOLUME, MASSES)
    assert np.allclose(np.sum(mended["born_charges"], axis=0), 0)
    assert np.allclose(mended["dielectric_static"], tensors(exact, VOLUME, MASSES)["dielectric_static"], rtol=2e-3)
    assert len(mended["frequencies"]) == 3 and min(mended["frequencies"]) > 100, "none of the whole crystal"


def test_where_a_displacement_lowers_the_energy_there_is_no_static_tensor() -> None:
    found = tensors(springs(-1.0), VOLUME, MASSES)
    assert found["unstable"] and max(found["frequencies"]) < 0
    assert "dielectric_static" not in found and "dielectric_static_own" not in found


MATRIX = """Dynamical matrix file

     Dynamical  Matrix in cartesian axes

     q = (    0.000000000   0.000000000   0.000000000 )

    1    1
  0.50000000   0.00000000     0.10000000   0.00000000     0.00000000   0.00000000
  0.20000000   0.00000000     0.60000000   0.00000000    -0.00000000   0.00000000
  0.00000000   0.00000000    -0.00000000   0.00000000     0.70000000   0.00000000

     Dielectric Tensor:

          5.500000000000         -0.000000000000          0.100000000000
         -0.000000000000          6.500000000000          0.000000000000
          0.000000000000          0.000000000000          7.500000000000

     Effective Charges E-U: Z_{alpha}{s,beta}

     atom #    1
          2.100000000000          0.300000000000          0.000000000000
          0.000000000000          2.200000000000          0.000000000000
          0.000000000000          0.000000000000         -2.300000000000

     Diagonalizing the dynamical matrix

     freq (    1) =       0.345427 [THz] =      11.522210 [cm-1]
"""


def test_the_matrix_is_read_in_electronvolts() -> None:
    """1 Ry/Bohr² is 13.605693 eV over 0.529177² Å²."""
    found = read_matrix(MATRIX)
    assert np.array_equal(found.electronic, [[5.5, 0, 0.1], [0, 6.5, 0], [0, 0, 7.5]])
    assert found.charges.shape == (1, 3, 3) and found.charges[0, 0, 1] == 0.3 and found.charges[0, 2, 2] == -2.3
    assert found.force_constants[0, 1] == pytest.approx(0.1 * 13.605693 / 0.529177**2, rel=1e-5)
    assert found.force_constants[1, 0] == pytest.approx(0.2 * 13.605693 / 0.529177**2, rel=1e-5)


@pytest.mark.parametrize("part", ["Dielectric Tensor:", "Effective Charges", "Dynamical  Matrix", "    1    1\n"])
def test_half_a_matrix_is_none(part: str) -> None:
    with pytest.raises(ValueError, match=r"no dynamical matrix|blocks"):
        read_matrix(MATRIX.replace(part, "cut"))


def test_an_engine_without_perturbation_theory_is_named_with_the_remedy() -> None:
    found = lacking("dielectric", "gpaw", Capabilities(True))
    assert found is not None
    assert "perturbation theory" in found[0] and "espresso-standard" in found[1]


def test_gpaw_refuses(tmp_path: Path) -> None:
    from materia.simulation.recipes._dielectric import responding

    with pytest.raises(Failure) as caught:
        responding(engine("gpaw"))
    assert caught.value.reason is Reason.UNSUPPORTED


def test_ph_x_is_looked_for_beside_pw_x(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, wanted in (
        ("", ["ph.x"]),
        ("/opt/qe/bin/pw.x", ["/opt/qe/bin/ph.x"]),
        ("python -m qepy --pw.x", ["python", "-m", "qepy", "--ph.x"]),
    ):
        monkeypatch.setenv("MATERIA_PW_COMMAND", given)
        assert _phonon.words() == wanted
    monkeypatch.setenv("MATERIA_PW_COMMAND", "/opt/my-pw")
    assert not _phonon.available(), "nobody knows what its ph.x is called"


# --- by pw.x and ph.x -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pseudos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    names = ("Si.pbe-rrkj.UPF", "C.pbe-rrkjus.UPF", "Cu.pbe-kjpaw.UPF")
    if not _phonon.available() or not all((EXAMPLES / name).is_file() for name in names):
        pytest.skip("there is no ph.x, or no examples (apt-get install quantum-espresso quantum-espresso-data)")
    with pytest.MonkeyPatch.context() as patch:
        folder = copy_chosen(tmp_path_factory.mktemp("espresso") / "pseudo", *names)
        use(patch, folder)
        yield folder


def computed(crystal: Crystal, folder: Path) -> dict[str, Any]:
    return dielectric(crystal, ESPRESSO_ROUGH, EspressoEngine(), folder)


@pytest.mark.espresso
def test_silicon_carbide(pseudos: Path, tmp_path: Path) -> None:
    """As at ``espresso-standard`` (6.84, 10.16, 804 1/cm) within the error of the coarser grid and cutoff."""
    found = computed(build_prototype("zincblende", ["Si", "C"]), tmp_path)
    assert found["dielectric_electronic_own"] == pytest.approx(6.84, rel=0.1)
    assert found["dielectric_static_own"] == pytest.approx(10.16, rel=0.1)
    assert np.abs(found["born_charges"])[0].max() == pytest.approx(2.7, rel=0.05)
    assert found["frequencies"] == pytest.approx([804] * 3, rel=0.03)
    assert np.allclose(found["dielectric_static"], found["dielectric_static_own"] * np.eye(3), atol=1e-3), "cubic"
    assert not list(tmp_path.rglob("wfc*.dat")), "wave functions are not left behind"


@pytest.mark.espresso
def test_a_metal_has_a_gap_of_zero_and_no_dielectric_constant(pseudos: Path, tmp_path: Path) -> None:
    """Carbon and silicon on a simple cubic lattice each, as caesium chloride: the bands overlap."""
    found = computed(build_prototype("cesium-chloride", ["Si", "C"]), tmp_path)
    assert found["is_metal"] and found["gap_pbe"] == 0
    assert "dielectric_electronic" not in found
