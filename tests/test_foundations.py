"""Errors, quantities, resources: what everything else stands on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import materia
from materia.errors import ConfigError, MateriaError
from materia.quantities import GAP_PBE, REGISTRY, Fidelity, quantity
from materia.resources import resource


def test_an_error_says_what_where_and_the_remedy() -> None:
    error = MateriaError("the value 3 is odd", where="file.yaml", remedy="use an even one")
    assert str(error).splitlines() == ["the value 3 is odd", "  where: file.yaml", "  remedy: use an even one"]
    assert str(MateriaError("alone")) == "alone"


def test_every_quantity_is_registered_under_its_own_name_with_a_unit() -> None:
    for name, found in REGISTRY.items():
        assert found.name == name
        assert found.unit
        assert found.label.startswith(found.title)
    assert quantity(GAP_PBE).fidelity is Fidelity.PBE
    assert quantity(GAP_PBE).lower == 0.0


def test_fidelities_of_one_property_are_different_quantities() -> None:
    assert len({quantity(n).fidelity for n in ("gap_pbe", "gap_hse06", "gap_pbe_mp")}) == 3


def test_an_unknown_quantity_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="gap_pbe"):
        quantity("gap")


def test_resources_are_found_and_missing_ones_named() -> None:
    assert resource("experiments/tiny.yaml").is_file()
    with pytest.raises(MateriaError, match=r"no/such\.file"):
        resource("no/such.file")


@pytest.mark.parametrize("name", sorted(set(materia.__all__) - {"__version__"}))
def test_the_public_api_is_there(name: str) -> None:
    assert callable(getattr(materia, name))
    with pytest.raises(AttributeError, match="nothing"):
        materia.nothing  # noqa: B018


def test_importing_materia_is_cheap() -> None:
    code = "import sys, materia; assert not {'torch', 'numpy', 'pymatgen', 'mlflow', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
