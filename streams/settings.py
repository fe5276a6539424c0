"""What a node is told by its environment, read once. Every variable begins with `REWINDOW_`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.limits import TAIL_KEEP_DEFAULT
from schemas.topics import Topics

KafkaConfig = dict[str, str | int | float | bool]


class StreamSettings(BaseSettings):
    """Kafka, the tables and the archive. Durations carry their unit in their name."""

    model_config = SettingsConfigDict(env_prefix="REWINDOW_", extra="ignore", frozen=True)

    kafka: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca: Path | None = None

    postgres: SecretStr | None = None
    data: Path = Path("./.rewindow/node")
    node_id: str = "node-1"
    url: str = "http://127.0.0.1:4000"
    """How the other nodes reach this one."""
    prefix: str = "rewindow"

    partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    replication: Annotated[int, Field(ge=1, le=10)] = 1
    log_retention_ms: Annotated[int, Field(ge=-1)] = -1
    facts_retention_ms: Annotated[int, Field(ge=-1)] = 7 * 86_400_000

    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 6.0
    heartbeat_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    write_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    broker_patience_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long a start waits for a broker."""
    outage_patience_s: Annotated[int, Field(ge=1, le=840)] = 600
    """How long a transaction waits for the broker; below its `transaction.max.timeout.ms`."""

    tail_keep: Annotated[int, Field(ge=0)] = TAIL_KEEP_DEFAULT
    archive_batch_size: PositiveInt = 5000
    archive_flush_interval_ms: PositiveInt = 1000

    @property
    def topics(self) -> Topics:
        """The names of this deployment's topics."""
        return Topics(self.prefix)

    def librdkafka(self) -> KafkaConfig:
        """What every librdkafka client of this node starts from."""
        config: KafkaConfig = {
            "bootstrap.servers": self.kafka,
            # Consumers that join no group need the name of one all the same, and a broker with ACLs
            # asks whether they may read it. The fold's is allowed to them in any case.
            "group.id": self.prefix,
            "security.protocol": self.kafka_security_protocol,
            "reconnect.backoff.max.ms": 1000,
            # Errors come as exceptions. What is said beside them would go to standard error as it
            # is, dozens of lines a second; `LogWriter` says it for all.
            "log_level": 2,
        }
        if self.kafka_sasl_username is not None and self.kafka_sasl_password is not None:
            config["sasl.mechanism"] = self.kafka_sasl_mechanism
            config["sasl.username"] = self.kafka_sasl_username
            config["sasl.password"] = self.kafka_sasl_password.get_secret_value()
        if self.kafka_ssl_ca is not None:
            config["ssl.ca.location"] = str(self.kafka_ssl_ca)
        return config
