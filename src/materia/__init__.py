"""materia: an AI-driven discovery engine for semiconductor materials."""

from __future__ import annotations

__version__ = "0.1.0"
