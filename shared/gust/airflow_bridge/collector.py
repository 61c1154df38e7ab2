"""Python's garbage collector while a function that imports Airflow gets ready, and before it forks.

What is imported stays. To walk it again and again while it grows is a quarter of such a function's cold start; to walk it
in a child copies its pages. So nothing is collected before all is there, and what is there is never looked at again,
as Python's documentation of `gc.freeze` has it for processes that fork.
"""

import gc


def rest() -> None:
    """Collect nothing until `settle`."""
    gc.disable()


def settle() -> None:
    """Leave alone what there is, here and in every child, and collect what comes. May be called again."""
    gc.freeze()
    gc.enable()
