"""Engines: programs that compute. One file each, found by entry point ``materia.engines``."""

from materia.simulation.engines._protocol import Bands, BeyondPBE, Capabilities, Engine, Responds, Response, engine

__all__ = ["Bands", "BeyondPBE", "Capabilities", "Engine", "Responds", "Response", "engine"]
