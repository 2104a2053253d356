"""Errors, quantities, resources: what everything else stands on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import materia
from materia.errors import ConfigError, MateriaError
from materia.quantities import (
    GAP_PBE,
    REGISTRY,
    Fidelity,
    Form,
    Kind,
    declare,
    parse_quantity,
    quantity,
    quantity_record,
)
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


def test_every_registered_quantity_can_be_declared_again() -> None:
    for name, found in REGISTRY.items():
        assert declare(name, **quantity_record(found)) is found
    assert quantity("dielectric_electronic").form is Form.TENSOR
    assert quantity("is_metal").form is Form.CLASS
    assert quantity("electron_mass").form is Form.LOG and quantity("electron_mass").lower == 0.0


def test_declarations_with_and_without_a_form() -> None:
    plain = parse_quantity("moment:mu_B:extensive:0")
    assert (plain.kind, plain.lower, plain.form) == (Kind.EXTENSIVE, 0.0, Form.SCALAR)
    assert "form" not in quantity_record(plain)
    for text in ("hardness:GPa:log", "hardness:GPa:intensive:log", "hardness:GPa:log:intensive:0"):
        assert parse_quantity(text) == declare("hardness", unit="GPa", form="log")
    assert parse_quantity("is_direct:1:class").form is Form.CLASS
    for text, message in (
        ("x:1:class:tensor", "declares no quantity"),
        ("x:1:matrix", "has the kind 'matrix'"),
        ("x:1:extensive:tensor", "it is intensive"),
        ("x:1:intensive:0.5:log", "has the lower bound 0.5"),
        ("dielectric_electronic:1", "is registered as a tensor, not as a scalar"),
        ("is_metal:1:tensor", "is registered as a class, not as a tensor"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_quantity(text)


def test_a_number_registered_as_a_logarithm_may_be_declared_a_scalar() -> None:
    """As in models made before it was registered; then the declaration counts."""
    old = {"unit": "GPa", "kind": "intensive", "lower": 0.0, "title": "Shear modulus", "fidelity": "unstated"}
    found = declare("shear_modulus", **old)
    assert (found.form, found.title, found.fidelity) == (Form.SCALAR, "Shear modulus", Fidelity.UNSTATED)
    assert declare("shear_modulus", unit="GPa", form="log") is quantity("shear_modulus")


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
