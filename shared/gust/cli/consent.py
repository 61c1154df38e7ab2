"""What a command of the operator's shows before it changes something outside of its stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def is_given(lines: Sequence[str], *, without_asking: bool, ask: Callable[[str], str]) -> bool:
    """Print what will change, and ask whether to go on. Says so where nothing is changed, as where no terminal answers."""
    print("This will change:", *lines, sep="\n  ")
    if without_asking:
        return True
    try:
        if ask("Go on? [y/N] ").strip().lower() in {"y", "yes"}:
            return True
        print("Nothing was changed.")
    except EOFError:
        print("\nNothing was changed: no terminal answers; --yes changes it without asking.")
    return False
