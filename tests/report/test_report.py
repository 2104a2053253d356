"""The page: complete, self-contained, unbreakable by what the record holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from browser_page import look
from materia.errors import StorageError
from materia.record import CampaignRecord
from materia.report import write_report
from materia.simulation import SCREEN, expected_error, level_hash
from record_factory import make_record

EVIL = "<script>alert('x')</script>\"&{{7*7}}"


class _Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self._text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self.rows.append("".join(self._text))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def _read(record: CampaignRecord, folder: Path) -> tuple[str, _Page]:
    text = write_report(record, folder / "page" / "index.html").read_text(encoding="utf-8")
    return text, _Page(text)


def test_every_ranked_candidate_is_on_the_page(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    _, page = _read(record, tmp_path)
    ranking = page.rows[-len(record.ranking) :] if not page.rows else page.rows
    for row in record.ranking:
        mine = [r for r in ranking if row["formula"] in r and row["prototype"] in r]
        assert mine, row["candidate_id"]
    best = record.ranking[0]
    told = f"{best['predictions']['gap_pbe']['mean']:.2f} ± {best['predictions']['gap_pbe']['std']:.2f}"
    assert any(f"{best['values']['gap_pbe']:.2f}" in r and told in r for r in ranking)
    assert not any("validated" in r for r in ranking)


@pytest.mark.parametrize(
    ("n_rounds", "state"), [(0, "running"), (1, "running"), (2, "running"), (3, "running"), (3, "finished")]
)
def test_nothing_comes_from_the_network(tmp_path: Path, n_rounds: int, state: str) -> None:
    text, page = _read(make_record(tmp_path / "run", n_rounds=n_rounds, state=state), tmp_path)
    for _, attributes in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            address = attributes.get(name)
            assert address is None or address.startswith("#") or address == "data:,", address
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert not re.findall(r"fetch\(|XMLHttpRequest|import\(|WebSocket|EventSource", text)


def test_figures_say_what_they_show(tmp_path: Path) -> None:
    _, page = _read(make_record(tmp_path / "run"), tmp_path)
    figures = [a for a in page.of("svg") if "plot" in (a.get("class") or "")]
    assert len(figures) >= 8
    assert all(len(a.get("aria-label") or "") > 20 for a in figures)
    strips = [a for a in page.of("svg") if a["class"] == "strip"]
    assert sum("aria-hidden" not in a for a in strips) == 1  # the one in the legend, whose paragraph is hidden


def test_size_stays_small(tmp_path: Path) -> None:
    assert len(_read(make_record(tmp_path / "run"), tmp_path)[0]) < 400_000


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run", evil=EVIL)
    settings = {**record.settings, "name": EVIL}
    record = replace(record, name=EVIL, settings=settings, meta={**record.meta, "level": {"name": EVIL}})
    text, page = _read(record, tmp_path)
    assert "alert('x')</script>" not in text
    assert len(page.of("script")) == 3
    data = re.search(r'id="page-data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert EVIL in [d["id"] for d in json.loads(data[1])["details"]]


def test_the_level_says_its_expected_error_unless_it_is_another_of_that_name(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    for digest, said in ((level_hash(SCREEN), True), ("0" * 12, False)):
        written = {"name": "screen", "hash": digest}
        text, _ = _read(replace(record, meta={**record.meta, "level": written}), tmp_path / digest)
        assert (str(expected_error(SCREEN)) in text) == said


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    tracking = {"uri": "https://ada:hunter2@mlflow.example.org", "token": "hunter2"}
    settings = {**record.settings, "tracking": tracking}
    assert "hunter2" not in _read(replace(record, settings=settings), tmp_path)[0]


def test_failures_and_their_reasons_are_told(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    _, page = _read(record, tmp_path)
    for name in ("SrTe-rocksalt/relax", "BaSnO3-perovskite/relax"):
        assert any(name in r and "did not converge in 120 steps" in r for r in page.rows)


def test_a_damaged_structure_loses_only_its_picture(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    broken = {**record.ranking[1], "structure": {"species": ["Zn"]}}
    text, page = _read(replace(record, ranking=[record.ranking[0], broken, *record.ranking[2:]]), tmp_path)
    assert any("ZnTe" in r for r in page.rows)
    assert text.count('<canvas class="viewer"') == 6


def test_without_conditions_nothing_is_called_a_hit(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    settings = {**record.settings, "constraints": [], "objectives": [{"quantity": "gap_pbe", "goal": "maximize"}]}
    _, page = _read(replace(record, settings=settings), tmp_path)
    assert not [a for _, a in page.tags if "pill hit" in (a.get("class") or "")]
    assert "every condition" not in " ".join(page.rows)


def test_what_tables_say_is_no_prediction(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    row = record.ranking[0]
    known = {**row, "predictions": {**row["predictions"], "supply_risk": {"mean": 0.34, "std": 0.0}}}
    _, page = _read(replace(record, ranking=[known, *record.ranking[1:]]), tmp_path)
    assert not any("± 0.00" in r and "± 0.000" not in r for r in page.rows)


def test_results_taken_over_are_counted_as_such(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    first = record.jobs[0]
    assert first.outcome is not None
    over = replace(first, attempts=0, outcome=replace(first.outcome, wall_s=0.0, cpu_s=0.0))
    text, page = _read(replace(record, jobs=(over, *record.jobs[1:])), tmp_path)
    assert "taken over from earlier work" in text
    assert sum("taken over" in r for r in page.rows) == 1


def test_a_changed_structure_is_flagged(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    first = record.jobs[0]
    assert first.outcome is not None
    changed = replace(first, outcome=replace(first.outcome, values={"prototype_kept": False}))
    _, page = _read(replace(record, jobs=(changed, *record.jobs[1:])), tmp_path)
    flagged = [r for r in page.rows if "structure changed" in r]
    assert len(flagged) == 1
    assert "AlSb" in flagged[0]


def test_same_record_same_page(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    assert _read(record, tmp_path / "a")[0] == _read(record, tmp_path / "b")[0]


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(StorageError, match="report cannot be written"):
        write_report(make_record(tmp_path / "run", n_rounds=0), tmp_path / "report" / "index.html")


def _coloured(path: Path, rgb: tuple[int, int, int], tolerance: int = 24) -> int:
    """Pixels close to a colour."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    return int((np.abs(pixels - np.array(rgb)).max(axis=-1) < tolerance).sum())


@pytest.mark.browser
@pytest.mark.parametrize(("n_rounds", "state", "drawn"), [(3, "finished", 6), (0, "running", 0)])
def test_page_runs_in_a_browser(tmp_path: Path, n_rounds: int, state: str, drawn: int) -> None:
    path = write_report(make_record(tmp_path / "run", n_rounds=n_rounds, state=state), tmp_path / "index.html")
    seen = look(path.as_uri(), tmp_path / "page.png", height=1500)
    assert seen.console == []
    assert len(re.findall(r'data-drawn="\d+"', seen.dom)) == drawn
    antimony = _coloured(seen.screenshot, (158, 99, 181))
    assert (antimony > 300) if drawn else (antimony < 50)


@pytest.mark.browser
def test_dossier_opens_on_a_narrow_screen(tmp_path: Path) -> None:
    path = write_report(make_record(tmp_path / "run", evil=EVIL), tmp_path / "index.html")
    address = path.as_uri() + "#candidate=CsSnCl3-perovskite"
    seen = look(address, tmp_path / "page.png", width=500, height=1000)
    assert seen.console == []
    assert re.search(r"<dialog[^>]* open", seen.dom)
    assert "Pm-3m (221)" in seen.dom
    assert _coloured(seen.screenshot, (87, 23, 143), 30) > 1000  # caesium
