"""Python's garbage collector in a function: off until the imports are done, then frozen.

Imported objects live as long as the process. Collections that walk them while they grow take a tenth of a cold start, and a
quarter where Airflow is imported; a collection in a forked child copies the pages it walks. So the collector stays off until
everything is imported, and `gc.freeze` then excludes those objects, as Python's documentation recommends for processes that
fork.
"""

import gc


def disable_gc() -> None:
    """Collect nothing until `freeze_gc`."""
    gc.disable()


def freeze_gc() -> None:
    """Exclude all existing objects from collection, here and in every child, and collect new ones. May be called again."""
    gc.freeze()
    gc.enable()
