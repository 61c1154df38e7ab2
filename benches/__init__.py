"""`./gust bench`: speed and price, compared with real Airflow on the same machine.

`dags/` holds the DAGs, `shapes` describes them, `measure` runs them on any server and reads the clock,
`meter` counts the AWS calls inside the emulator, `cost` prices them, `report` prints and checks the targets, `results` keeps
figures by commit. `paths` prices every path of a task without a stack, `short` measures its processor time for CI.
"""
