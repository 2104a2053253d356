"""One of several processes that share a search of settings; ``python -m materia.campaign.tune_worker FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """0 when there are enough trials; 1 with a message for people when there cannot be."""
    from materia.campaign._tune_study import work
    from materia.errors import MateriaError

    try:
        work(Path(arguments[0]))
    except MateriaError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
