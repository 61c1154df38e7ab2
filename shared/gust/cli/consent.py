"""What a command of the operator's shows before it changes something outside of its stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def is_given(lines: Sequence[str], *, without_asking: bool, ask: Callable[[str], str]) -> bool:
    """Print what will change, and ask whether to go on. Says so where nothing is changed."""
    print("This will change:", *lines, sep="\n  ")
    if without_asking or ask("Go on? [y/N] ").strip().lower() in {"y", "yes"}:
        return True
    print("Nothing was changed.")
    return False
