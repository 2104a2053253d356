"""Croissant metadata of a dataset, by which catalogues and loaders of machine-learning data find their way in it.

Croissant 1.0: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
FIELDS = {
    "id": "unique in the dataset",
    "formula": "reduced formula",
    "prototype": "name of the structure type it was made from",
    "status": "computed or failed",
    "reason": "why it failed; empty otherwise",
    "initial": "structure before relaxation, as JSON: lattice (rows, Å), species, frac_coords",
    "structure": "relaxed structure, likewise",
    "labels": "quantity, value, fidelity, level and source of each label, as JSON",
    "jobs": "what was run: key, recipe, status, values and provenance, as JSON",
}
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(card: Mapping[str, Any], shards: Sequence[Path]) -> dict[str, Any]:
    """The metadata as JSON-LD.

    Args:
        card: completed card of the dataset.
        shards: its files, as they were written.
    """
    licence = str(card.get("licence", ""))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.get("name", "dataset"),
        "description": card.get("description") or card.get("title") or card.get("name", "dataset"),
        **({"license": LICENCES.get(licence, licence)} if licence else {}),
        "version": "1.0.0",
        "distribution": [_file(shard) for shard in shards],
        "recordSet": [_records(shard) for shard in shards],
    }


def _file(shard: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard.name,
        "name": shard.name,
        "contentUrl": shard.name,
        "encodingFormat": "application/jsonlines",
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }


def _records(shard: Path) -> dict[str, Any]:
    """One record a line; the same fields in every shard."""
    return {
        "@type": "cr:RecordSet",
        "@id": shard.stem,
        "name": shard.stem,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{shard.stem}/{name}",
                "name": name,
                "description": about,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": shard.name}, "extract": {"column": name}},
            }
            for name, about in FIELDS.items()
        ],
    }
