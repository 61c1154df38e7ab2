"""The command line. A module for each command or family of commands; `__main__` lists them.

A command's module offers `add_arguments(parser)` and `run(options)`, which returns the exit code. It imports only the
standard library at its top: `./gust COMMAND --help` answers before anything is installed.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
"""The checkout."""
