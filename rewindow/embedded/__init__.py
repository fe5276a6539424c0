"""Kafka and Postgres as child processes, from packages, for one machine."""
