"""Where packaged files lie: in a checkout, an editable install and a wheel alike."""

from __future__ import annotations

from pathlib import Path

from materia.errors import MateriaError

_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parents[2]


def resource(relative: str) -> Path:
    """Absolute path of a file or folder that ships with materia.

    Args:
        relative: path as in the checkout, such as ``"data/references.json"`` or ``"experiments/quickstart.yaml"``.

    Raises:
        MateriaError: it is not there (a damaged installation).
    """
    roots = [_PACKAGED]
    if (_CHECKOUT / "pyproject.toml").is_file():  # only a checkout has it: site-packages' parents do not
        roots.append(_CHECKOUT)
    for root in roots:
        path = root / relative
        if path.exists():
            return path
    raise MateriaError(
        f"the packaged file {relative!r} is missing",
        where=" or ".join(str(root) for root in roots),
        remedy="reinstall materia",
    )
