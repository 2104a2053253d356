"""Bad campaign files get errors that name file, key and remedy, and touch nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.campaign import find_campaign_file, load_settings
from materia.errors import ConfigError, MateriaError
from materia.resources import resource

SHIPPED = sorted(path.stem for path in resource("experiments").glob("*.yaml"))


def written(folder: Path, **changes: Any) -> Path:
    content = yaml.safe_load(resource("experiments/tiny.yaml").read_text())
    for key, value in changes.items():
        *path, last = key.split("__")
        place = content
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    file = folder / "campaign.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_campaign_file_is_valid(name: str) -> None:
    assert load_settings(find_campaign_file(name)).name == name


@pytest.mark.parametrize(
    ("changes", "key", "remedy"),
    [
        ({"serch": {}}, "serch", "search"),
        ({"search__batsh": 4}, "search.batsh", "batch"),
        ({"space__elments": ["Si"]}, "space.elments", "elements"),
        ({"surrogate__epoch": 4}, "surrogate.epoch", "epochs"),
        ({"objectives": [{"quantity": "gap_pbe", "windw": [0, 1]}]}, "objectives.0.windw", "window"),
        ({"version": 2}, "version", "correct"),
        ({"search__batch": 0}, "search.batch", "correct"),
        ({"ladder__level": "standart"}, "ladder.level", "correct"),
    ],
)
def test_wrong_keys_and_values_are_named_with_the_remedy(
    tmp_path: Path, changes: dict[str, Any], key: str, remedy: str
) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert repr(key) in str(caught.value) or key in caught.value.what
    assert str(file) in str(caught.value)
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space__elements": ["Ga", "Xx"]}, "Xx"),
        ({"space__prototypes": ["zincblend"]}, "zincblende"),
        ({"objectives": [{"quantity": "gap", "window": [0, 1]}]}, "gap_pbe"),
        ({"objectives": [{"quantity": "gap_pbe"}]}, "window or goal"),
        ({"constraints": [{"quantity": "energy_above_hull"}]}, "below or above"),
    ],
)
def test_unknown_things_are_named_with_the_nearest_known(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MateriaError, match=words):
        load_settings(written(tmp_path, **changes))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text("version: 1\nname: x\nobjectives: [{quantity: gap_pbe, window: [0, 1]}]\n")
    with pytest.raises(ConfigError, match="'space' is missing"):
        load_settings(file)


@pytest.mark.parametrize("text", ["a: [1", "- just\n- a list\n", ""])
def test_what_is_no_campaign_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"campaign\.yaml"):
        load_settings(file)


def test_an_unknown_name_lists_what_ships() -> None:
    with pytest.raises(ConfigError, match="quickstart"):
        find_campaign_file("quickstrat")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line_prints_the_error_and_touches_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, search__batsh=4)
    done = run("run", str(file), cwd=tmp_path)
    assert done.returncode == 1
    assert "did you mean 'batch'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["campaign.yaml"]


def test_relative_paths_are_relative_to_the_campaign_file(tmp_path: Path) -> None:
    file = written(tmp_path, space__files=["mine.cif"], data="labels", compute__stores=["../other"])
    settings = load_settings(file)
    assert settings.space.files == (tmp_path / "mine.cif",)
    assert settings.data == str(tmp_path / "labels")
    assert settings.compute.stores == (str((tmp_path / "../other").resolve()),)


def test_so_are_those_of_a_ladder_each_beside_the_others(tmp_path: Path) -> None:
    potential = {"calculator": "ase.calculators.emt:EMT", "weights": ["own.pt"]}
    competing = {"prototypes": [], "files": ["known.cif"]}
    ladder = {"potentials": {"own": potential}, "references": "elements.json", "competing": competing}
    settings = load_settings(written(tmp_path, **{f"ladder__{key}": value for key, value in ladder.items()})).ladder
    assert settings.references == tmp_path / "elements.json"
    assert settings.competing is not None and settings.competing.files == (tmp_path / "known.cif",)
    assert [Path(weights) for weights in settings.potentials["own"].weights] == [tmp_path / "own.pt"]
