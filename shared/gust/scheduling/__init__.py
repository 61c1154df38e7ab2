"""The pure core: plain values in, decisions out. No clock, no I/O, no randomness, no Airflow."""
