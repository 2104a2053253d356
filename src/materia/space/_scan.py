"""Structures in Parquet as a pool has them, read a stretch at a time: for pools too large to hold as candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from materia.crystal import Crystal, validate
from materia.errors import MateriaError, SpaceError

_COLUMNS = ("id", "lattice", "numbers", "frac_coords")


def pool_file(path: str | Path) -> Path | None:
    """The Parquet file of a pool: itself, in a pool's folder or a campaign's; None where there is no pool."""
    path = Path(path)
    if path.suffix == ".parquet" and path.is_file():
        return path
    places = (path / "pool.parquet", path / "pool" / "pool.parquet")
    return next((place for place in places if place.is_file()), None)


def count_structures(file: Path) -> int:
    """How many rows a file of structures has.

    Raises:
        SpaceError: it is no Parquet, or lacks a column.
    """
    import polars as pl

    try:
        table = pl.scan_parquet(file)
        missing = [name for name in _COLUMNS if name not in table.collect_schema().names()]
        if missing:
            raise SpaceError(f"the file of structures lacks the column {missing[0]!r}", where=file)
        return int(table.select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SpaceError(f"cannot be read as a pool: {error}", where=file, remedy="give a pool.parquet") from error


def scan_structures(file: Path, start: int, stop: int) -> Iterator[tuple[str, Crystal | str]]:
    """Id and structure of the rows from ``start`` to before ``stop``; for one that is not physical, the reason.

    Raises:
        SpaceError: the file cannot be read.
    """
    import polars as pl

    try:
        rows = pl.scan_parquet(file).select(_COLUMNS).slice(start, stop - start).collect().to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SpaceError(f"cannot be read as a pool: {error}", where=file) from error
    for row in rows:
        try:
            crystal = Crystal(
                np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3),
                np.asarray(row["numbers"]),
                np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3),
            )
            yield row["id"], validate(crystal)
        except MateriaError as error:
            yield row["id"], error.what
        except (TypeError, ValueError, IndexError) as error:  # lists of other lengths, no numbers, no element
            yield row["id"], f"is no structure: {error}"


def write_structures(file: Path, ids: Sequence[str], crystals: Sequence[Crystal]) -> None:
    """Write structures so that :func:`scan_structures` reads them, by rename."""
    import polars as pl

    table = pl.DataFrame(
        {
            "id": list(ids),
            "lattice": [c.lattice.ravel().tolist() for c in crystals],
            "numbers": [c.numbers.tolist() for c in crystals],
            "frac_coords": [c.frac_coords.ravel().tolist() for c in crystals],
        },
        schema={
            "id": pl.String,
            "lattice": pl.List(pl.Float64),
            "numbers": pl.List(pl.Int64),
            "frac_coords": pl.List(pl.Float64),
        },
    )
    partial = file.with_suffix(".partial")
    table.write_parquet(partial)
    partial.replace(file)
