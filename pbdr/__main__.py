"""``python -m pbdr``: the same as the command ``pbdr``."""

from .cli.main import main

main()
