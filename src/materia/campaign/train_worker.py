"""One of several processes that train a model together; ``torchrun ... -m materia.campaign.train_worker FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """0 when the model is there; 1 with a message for people when it cannot be."""
    from materia.campaign._train import leads_here, work
    from materia.errors import MateriaError

    try:
        work(Path(arguments[0]), progress=sys.stderr.isatty() and leads_here())
    except MateriaError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
