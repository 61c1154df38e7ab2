"""`./gust bench`: how fast and how cheap, beside real Airflow on the same machine.

`dags/` holds the DAGs, `shapes` what they look like, `measure` runs them on any server and reads the clock,
`meter` counts the AWS calls inside the emulator, `cost` prices them, `report` prints and checks the targets.
"""
