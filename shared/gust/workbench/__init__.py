"""DAG files tried on this machine without a stack: `check` parses a folder, `run` runs one DAG or one task.

Both use the parser, scheduler, execution API and worker of a stack, over a table, a bucket and queues in memory
(`stack.py`). `./gust check` and `./gust run` start a process for each.
"""
