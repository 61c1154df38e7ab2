"""The local stack: the same template, the same handlers, on an emulator of AWS.

stack.py       one running stack: starts what follows in order, and ends it
emulator.py    the emulator's process, with what it lacks: a front door and checkpoints
ministack.py   every name of MiniStack that is replaced or read, checked at the start
function_pool.py  how many processes a function has
zygote.py      the process that functions are forks of
front_door.py  which requests the public address answers
sign_in.py     links and tokens for a stack that others reach, too
log_files.py   log streams in files
storage.py     refuses writes that a full disk could not store
checkpoint.py  saves the emulator's state while it runs, and repairs what its restart would lose
deployment.py  template.yaml → the emulator's CloudFormation
sam.py         SAM's transform, kept for the next start
web.py         layer `web`, packed from the installed Airflow
dag_folder.py  keeps the bucket's dags/ in step with a folder
parsing.py     tells the terminal how far the folder's parsing is
processes.py   locks, ports, and processes that must not outlive us
"""
