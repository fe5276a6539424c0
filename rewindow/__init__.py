"""What people type: the command line, a node's root, the embedded Kafka and Postgres."""
