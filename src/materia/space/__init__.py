"""Where candidates come from."""

from materia.space._build import build_prototype
from materia.space._prototypes import PROTOTYPES, Prototype, prototype

__all__ = ["PROTOTYPES", "Prototype", "build_prototype", "prototype"]
