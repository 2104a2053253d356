"""``python -m materia.cli``: the command line without the installed script."""

from materia.cli import main

main()
