"""The pool: candidates frozen in order, with a hash over exactly what a search sees."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, structure_hash
from materia.errors import SpaceError, StorageError
from materia.record import Candidate, to_json

_VERSION = 1


@dataclass(frozen=True)
class Pool:
    """Candidates in a fixed order; row i is the same candidate for the whole campaign.

    Attributes:
        candidates: sorted by id.
        hash: over ids and structure hashes (16 hex digits).
        funnel: ``{"step", "n"}`` in order: how many candidates each step of the generation left.
        quarantine: ``{"name", "reason"}`` of what could not be used.
        settings: as generated, JSON.
    """

    candidates: Sequence[Candidate]
    hash: str
    funnel: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, str]] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def freeze(
        cls,
        candidates: Sequence[Candidate],
        funnel: list[dict[str, Any]] | None = None,
        quarantine: list[dict[str, str]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Pool:
        """A pool of these candidates, in this order.

        Raises:
            SpaceError: there are none, or two share an id.
        """
        if not candidates:
            raise SpaceError("a pool needs at least one candidate")
        ids = [c.id for c in candidates]
        if len(set(ids)) < len(ids):
            twice = next(i for k, i in enumerate(ids) if i in ids[:k])
            raise SpaceError(f"two candidates share the id {twice!r}", remedy="rename one of the files")
        return cls(tuple(candidates), _hash(candidates), funnel or [], quarantine or [], settings or {})

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def ids(self) -> list[str]:
        return [c.id for c in self.candidates]

    @cached_property
    def formulas(self) -> list[str]:
        """Reduced formulas, row by row."""
        return [c.formula for c in self.candidates]

    @cached_property
    def prototypes(self) -> list[str]:
        return [c.prototype for c in self.candidates]

    @cached_property
    def compositions(self) -> list[dict[str, int]]:
        """Atoms of each element in the cell, row by row."""
        return [c.crystal.composition for c in self.candidates]

    @cached_property
    def features(self) -> dict[str, NDArray[np.float64]]:
        """Numbers known without any calculation, (n,) each.

        ``n_atoms``; ``n_elements``; ``n_electrons`` (all, of the cell); ``volume_per_atom`` (Å³, as built).
        """
        crystals = [c.crystal for c in self.candidates]
        found = {
            "n_atoms": [c.n_atoms for c in crystals],
            "n_elements": [len(c.elements) for c in crystals],
            "n_electrons": [c.numbers.sum() for c in crystals],
            "volume_per_atom": [c.volume / c.n_atoms for c in crystals],
        }
        return {name: np.array(values, dtype=np.float64) for name, values in found.items()}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.ids)}

    def crystal(self, i: int) -> Crystal:
        return self.candidates[i].crystal

    def candidate(self, i: int) -> Candidate:
        return self.candidates[i]

    def index(self, candidate_id: str) -> int:
        """Row of a candidate.

        Raises:
            SpaceError: the pool has none of that id; the nearest ids are named.
        """
        try:
            return self._rows[candidate_id]
        except KeyError:
            raise _unknown(candidate_id, self.ids) from None

    @staticmethod
    def rows_in(folder: str | Path, candidate_ids: Sequence[str]) -> list[int]:
        """Rows of some candidates of a saved pool, without reading its structures.

        Raises:
            SpaceError: the pool has none of that id (the nearest ids are named), or it cannot be read.
        """
        import polars as pl

        path = Path(folder) / "pool.parquet"
        try:
            ids = pl.read_parquet(path, columns=["id"])["id"].to_list()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise SpaceError(f"the pool cannot be read: {type(error).__name__}: {error}", where=path) from error
        rows = {name: i for i, name in enumerate(ids)}
        for name in candidate_ids:
            if name not in rows:
                raise _unknown(name, ids)
        return [rows[name] for name in candidate_ids]

    def save(self, folder: str | Path) -> None:
        """Write ``pool.parquet`` and, last, ``pool.json`` (hash, n, funnel, quarantine, settings, versions).

        Raises:
            StorageError: the folder cannot be written.
        """
        import polars as pl

        from materia._version import __version__

        folder = Path(folder)
        crystals = [c.crystal for c in self.candidates]
        table = pl.DataFrame(
            {
                "id": self.ids,
                "formula": self.formulas,
                "prototype": self.prototypes,
                "lattice": [c.lattice.ravel().tolist() for c in crystals],
                "numbers": [c.numbers.tolist() for c in crystals],
                "frac_coords": [c.frac_coords.ravel().tolist() for c in crystals],
                "origin": [json.dumps(to_json(c.origin), sort_keys=True) for c in self.candidates],
                **self.features,
            }
        )
        card = {
            "version": _VERSION,
            "hash": self.hash,
            "n": len(self),
            "funnel": self.funnel,
            "quarantine": self.quarantine,
            "settings": dict(self.settings),
            "versions": {"materia": __version__, "polars": pl.__version__, "numpy": np.__version__},
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _replacing(folder / "pool.parquet") as path:
                table.write_parquet(path)
            with _replacing(folder / "pool.json") as path:
                path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StorageError(
                f"the pool cannot be written: {error.strerror or error}",
                where=folder,
                remedy="check permissions and free space",
            ) from error

    @classmethod
    def load(cls, folder: str | Path) -> Pool:
        """The pool saved in a folder.

        Raises:
            SpaceError: files are missing or unreadable, or the candidates do not have the hash in ``pool.json``.
        """
        import polars as pl

        folder = Path(folder)
        remedy = "start the campaign anew, or restore the folder from a copy"
        try:
            card = json.loads((folder / "pool.json").read_text())
            rows = pl.read_parquet(folder / "pool.parquet").to_dicts()
            candidates = tuple(_candidate(row) for row in rows)
            if card["version"] != _VERSION:
                raise SpaceError(f"a pool of version {card['version']!r} cannot be read", where=folder)
            found = _hash(candidates)
            expected = str(card["hash"])
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise SpaceError(
                f"the pool cannot be read: {type(error).__name__}: {error}", where=folder, remedy=remedy
            ) from error
        if found != expected:
            raise SpaceError(
                f"the pool has changed since it was frozen: its hash is {found}, pool.json says {expected}",
                where=folder,
                remedy=remedy,
            )
        return cls(candidates, found, card["funnel"], card["quarantine"], card["settings"])


def _unknown(candidate_id: str, ids: Sequence[str]) -> SpaceError:
    """The error for an id that is not in the pool, with the nearest that are."""
    from difflib import get_close_matches

    lowered: dict[str, str] = {}
    for name in ids:
        lowered.setdefault(name.lower(), name)
    wanted = candidate_id.lower()
    formula = wanted.partition("-")[0]
    kin = [low for low in lowered if low.partition("-")[0] == formula]  # the whole of a large pool takes long
    near = get_close_matches(wanted, kin, n=3, cutoff=0.0) or get_close_matches(wanted, list(lowered), n=3)
    return SpaceError(
        f"the pool has no candidate {candidate_id!r}",
        remedy=f"did you mean {', '.join(lowered[low] for low in near)}?"
        if near
        else "see ranking.json and the report",
    )


def _candidate(row: Mapping[str, Any]) -> Candidate:
    crystal = Crystal(
        np.array(row["lattice"]).reshape(3, 3),
        np.array(row["numbers"]),
        np.array(row["frac_coords"]).reshape(-1, 3),
    )
    return Candidate(row["id"], crystal, row["prototype"], json.loads(row["origin"]))


def _hash(candidates: Sequence[Candidate]) -> str:
    digest = hashlib.sha256()
    for c in candidates:
        digest.update(json.dumps([c.id, c.prototype, structure_hash(c.crystal)]).encode())
    return digest.hexdigest()[:16]


class _replacing:  # noqa: N801 - used as a function
    """A temporary path that takes the place of ``path``, on disk, when the block ends well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        with self.temporary.open("rb") as file:
            os.fsync(file.fileno())
        self.temporary.replace(self.path)
