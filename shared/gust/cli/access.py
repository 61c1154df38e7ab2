"""`./gust check-access FILE`: whether a stack would take the access document."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from gust.cli import text_file

HELP: Final = "check an access document"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the document (docs/access.md)")


def run(options: argparse.Namespace) -> int:
    from gust.errors import Invalid
    from gust.rest_api.access.access import AccessDocument

    try:
        document = AccessDocument.parse(text_file.read(options.file))
    except Invalid as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    print(f"The document is valid. Entries for IAM: {len(document.iam)}; for OIDC: {len(document.oidc)}.")
    return 0
