"""A broker that asks who you are, and lets nobody do what no ACL allows."""

from typing import Final

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import HOST, Kafka
from rewindow.embedded.ports import free_port

PASSWORD: Final = "of-everybody"

_PROPERTIES: Final = """
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config={module} required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
_MODULE: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"


class GuardedKafka(Kafka):
    """At `guarded` the users have to say who they are, and may do nothing until they are allowed
    to; at `address` nobody has to, and may do everything."""

    def __init__(self, folder: DataFolder, *users: str) -> None:
        super().__init__(folder, class_path(lambda _said: None))
        self._users = users
        self.guarded = f"{HOST}:{free_port()}"

    def _prepare(self) -> None:
        super()._prepare()
        one_more = {
            "listeners": f"GUARDED://{self.guarded}",
            "advertised.listeners": f"GUARDED://{self.guarded}",
            "listener.security.protocol.map": "GUARDED:SASL_PLAINTEXT",
        }
        lines = self._properties.read_text().splitlines()
        for number, line in enumerate(lines):
            if (more := one_more.get(line.partition("=")[0])) is not None:
                lines[number] = f"{line},{more}"
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in self._users)
        rest = _PROPERTIES.format(module=_MODULE, users=users)
        self._properties.write_text("\n".join(lines) + rest)

    def client(self, user: str) -> dict[str, str]:
        """What a librdkafka client of this user starts from."""
        return {
            "bootstrap.servers": self.guarded,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": PASSWORD,
            "log_level": "0",
        }
