"""Datasets on disk: sharded JSON lines and a card that pins their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from materia.data._croissant import croissant
from materia.data._entry import Entry, JobResult
from materia.data._overview import overview
from materia.data._page import page
from materia.data._splits import splits
from materia.errors import DatasetError

CARD = "card.json"
SHARD_SIZE = 50  # entries; small enough that a diff of one shard can be read


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled structures, ordered by id.

    Attributes:
        entries: computed and failed ones.
        card: origin, units, licence, level, versions, digest.
    """

    entries: tuple[Entry, ...]
    card: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def digest(self) -> str:
        return content_digest(self.entries)

    @property
    def computed(self) -> list[Entry]:
        """Entries that have labels."""
        return [entry for entry in self.entries if entry.status == "computed"]

    @cached_property
    def jobs(self) -> dict[str, JobResult]:
        """Every job in the dataset by its key, so that no campaign computes it again."""
        return {job.key: job for entry in self.entries for job in entry.jobs}

    @staticmethod
    def lies_in(folder: Path) -> bool:
        """Whether a folder holds a dataset; whether a whole one, :meth:`load` says."""
        return (folder / CARD).is_file()

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Read a dataset folder and check it against its card.

        Raises:
            DatasetError: it is missing, a line is damaged, or the content is not what the card says.
        """
        folder = Path(folder)
        card_file = folder / CARD
        if not card_file.is_file():
            raise DatasetError("no dataset here (card.json is missing)", where=folder)
        card = json.loads(card_file.read_text())
        entries: list[Entry] = []
        for shard in sorted(folder.glob("shard-*.jsonl")):
            for number, line in enumerate(shard.read_text().splitlines(), 1):
                where = f"{shard}:{number}"
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DatasetError(f"a line is not JSON: {error}", where=where) from error
                entries.append(Entry.from_record(record, where=where))
        dataset = cls(tuple(entries), card)
        if dataset.digest != card.get("digest"):
            raise DatasetError(
                f"the content (digest {dataset.digest[:12]}) is not what card.json says "
                f"({str(card.get('digest'))[:12]})",
                where=folder,
                remedy="restore the files, or rebuild the dataset with `materia data build`",
            )
        return dataset

    @classmethod
    def empty(cls) -> Dataset:
        """No entries: a campaign that starts from nothing."""
        return cls((), {"name": "empty", "digest": content_digest(())})

    def save(self, folder: str | Path) -> Dataset:
        """Write shards, card, splits, Croissant metadata and a page with a figure; returns the dataset with its card
        completed (counts, digest)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("shard-*.jsonl"):
            old.unlink()
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.id))
        shards = []
        for start in range(0, len(ordered), SHARD_SIZE):
            lines = [json.dumps(entry.to_record(), sort_keys=True) for entry in ordered[start : start + SHARD_SIZE]]
            shards.append(folder / f"shard-{start // SHARD_SIZE:03d}.jsonl")
            shards[-1].write_text("\n".join(lines) + "\n")
        computed = [entry for entry in ordered if entry.status == "computed"]
        card = {
            **self.card,
            "n": len(ordered),
            "n_computed": len(computed),
            "materials": len({entry.formula for entry in computed}),
            "elements": len({element for entry in computed for element in entry.initial.elements}),
            "prototypes": len({entry.prototype for entry in computed}),
            "failures": sum(entry.status == "failed" for entry in ordered),
            "digest": content_digest(ordered),
        }
        card = json.loads(json.dumps(card, sort_keys=True))  # as it will be read: the page follows its order
        for name, content in (("card", card), ("splits", splits(ordered)), ("croissant", croissant(card, shards))):
            text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n")
        (folder / "README.md").write_text(page(card, ordered))
        (folder / "overview.png").write_bytes(overview(ordered))
        return Dataset(ordered, card)


def content_digest(entries: Iterable[Entry]) -> str:
    """SHA-256 over the canonical JSON of every entry, in order of id."""
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda e: e.id):
        digest.update(json.dumps(entry.to_record(), sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()
