"""The page beside a dataset's ``card.json``: the same facts, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from materia.data._entry import Entry
from materia.quantities import REGISTRY


def page(card: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """Markdown page of a dataset.

    Args:
        card: completed card (counts, digest).
        entries: its entries, for the statistics.
    """
    lines = [
        f"# {card.get('title') or card.get('name')}",
        "",
        f"{card['n']} structures: {card['n_computed']} computed ({card['materials']} compositions of "
        f"{card['elements']} elements in {card['prototypes']} prototypes), {card['failures']} failed and kept with "
        f"their reason. Licence {card.get('licence', 'not stated')}. "
        f"Content digest (SHA-256) `{card['digest']}`.",
        "",
        *([str(card["description"]), ""] if card.get("description") else []),
        "![Gaps, formation energies, elements and prototypes](overview.png)",
        "",
        "## Labels",
        "",
        "| quantity | unit | n | min | median | max |",
        "|---|---|---|---|---|---|",
        *_statistics(entries),
        "",
        "## Level of theory",
        "",
        *(_level(card) if "levels" not in card else _levels(card["levels"])),
        "",
        "## Versions",
        "",
        ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items()) + ".",
        "",
        "## Prototypes",
        "",
        ", ".join(f"{name} {n}" for name, n in Counter(entry.prototype for entry in entries).most_common()) + ".",
        "",
        "## Failures",
        "",
        *(_failures(entries) or ["None."]),
        "",
        "## Splits",
        "",
        "`splits.json` deals the computed structures to five folds, once so that no reduced formula is in two of them "
        "(`formula`), once so that no prototype is (`prototype`). Say which was used with any figure on held-out data: "
        "polymorphs of one formula are easily told from each other's labels.",
        "",
        "## Format",
        "",
        "One JSON object a line in `shard-*.jsonl`: `id`, `formula`, `prototype`, `status`, `reason`, `initial` (the "
        "structure before relaxation), `structure` (relaxed), `labels` (quantity, value, fidelity, level, level_hash, "
        "source: key of the job) and `jobs` (key, recipe, status, values, provenance). Structures are `lattice` (rows, "
        "Å), `species`, `frac_coords`. Read it with `materia.Dataset.load(folder)`; `materia data export FILE.db` "
        "writes an ASE database, `.extxyz` extended XYZ. `croissant.json` describes the files to catalogues and "
        "loaders (Croissant 1.0).",
        "",
    ]
    return "\n".join(lines)


def _level(card: Mapping[str, Any]) -> list[str]:
    """The one level of all labels."""
    level = card.get("level", {})
    return [
        f"`{level.get('name', '')}` (hash `{card.get('level_hash', '')}`): "
        + ", ".join(f"{key} {value}" for key, value in level.items() if key != "name" and value not in ({}, None))
        + ".",
        "",
        "PAW datasets (SHA-256, first 12 digits): "
        + ", ".join(f"{element} `{digest}`" for element, digest in card.get("paw_datasets", {}).items())
        + ".",
    ]


def _levels(levels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each label names its own; those of no level of materia's are listed."""
    rows = [f"- `{digest}`: " + ", ".join(f"{k} {v}" for k, v in found.items()) for digest, found in levels.items()]
    return ["Each label names its own; values of two levels are not compared.", "", *sorted(rows)]


def _statistics(entries: Sequence[Entry]) -> list[str]:
    values: dict[str, list[float]] = {}
    for entry in entries:
        for label in entry.labels:
            values.setdefault(label.quantity, []).append(label.value)
    rows = []
    for name in sorted(values):
        found, unit = values[name], REGISTRY[name].unit
        rows.append(f"| `{name}` | {unit} | {len(found)} | {min(found):.3f} | {median(found):.3f} | {max(found):.3f} |")
    return rows


def _failures(entries: Sequence[Entry]) -> list[str]:
    return [f"- {entry.id}: {entry.reason}" for entry in entries if entry.status == "failed"]
