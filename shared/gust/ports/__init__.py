"""What the verbs need from outside, as protocols: a module for each noun. `gust.store` and `gust.aws` implement them, each
on AWS and in memory.

Every write is conditional, and its docstring says on what. Every write may be repeated. Reads are strongly consistent
unless the docstring says that they may lag by a moment: those read an index.
"""
