"""Progress bars, shown only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(show: bool, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A rich progress bar; yields a function that sets how much is done."""
    if not show:
        yield lambda done: None
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)
