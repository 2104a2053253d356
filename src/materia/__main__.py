"""``python -m materia``: the command line, for where the script is not on the path."""

from materia.cli import main

if __name__ == "__main__":
    main()
