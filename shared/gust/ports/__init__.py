<<<<<<< HEAD
"""What the verbs need from outside, as protocols: a module for each noun. `gust.store` and `gust.aws` implement them, each
on AWS and in memory.

Every write is conditional, and its docstring says on what. Every write may be repeated. Reads are strongly consistent
unless the docstring says that they may lag by a moment: those read an index.
=======
"""The services' outside world as protocols, a module for each noun. `gust.store` and `gust.aws` implement them, each on AWS
and in memory.

Every write is conditional, its docstring names the condition, and it may be repeated. Reads are strongly consistent, except
`due_*`, `queued_runs`, `waiting_for` and the set of runs in `list_runs`: these read indexes and may lag by a moment.
>>>>>>> w-words
"""
