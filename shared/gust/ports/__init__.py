"""What services need from outside, as protocols, a module for each noun. `gust.store` and `gust.aws` implement them, each on
AWS and in memory.

Every write here is conditional and says in its docstring what it checks; every one may be repeated. Reads are strongly
consistent, but for `due_*`, `queued_runs`, `waiting_for` and which runs `list_runs` lists: those read indexes and may lag
by a moment.
"""
