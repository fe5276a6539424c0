"""A header that no Python client writes, and `kcat -H $'\\xff=…'` does: its name is not UTF-8."""

import ctypes
from pathlib import Path

import confluent_kafka

# Names and numbers of librdkafka's C interface (rdkafka.h).
TOPIC, PARTITION, VALUE, KEY, MSGFLAGS, HEADER, END = 1, 3, 4, 5, 7, 9, 0
PRODUCER, COPY = 0, 2


def write_with_bad_header(kafka: str, topic: str, key: bytes, value: bytes) -> None:
    """Append a record to partition 0 with the library that confluent_kafka brings along."""
    libraries = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = libraries.glob("librdkafka-*")
    lib = ctypes.CDLL(str(path))
    lib.rd_kafka_conf_new.restype = lib.rd_kafka_new.restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
    servers = (b"bootstrap.servers", kafka.encode())
    assert lib.rd_kafka_conf_set(conf, *servers, error, len(error)) == 0, error.value
    producer = ctypes.c_void_p(lib.rd_kafka_new(PRODUCER, conf, error, len(error)))
    assert producer, error.value
    said = [
        (TOPIC, topic.encode()),
        (PARTITION, 0),
        (VALUE, value, ctypes.c_size_t(len(value))),
        (KEY, key, ctypes.c_size_t(len(key))),
        (MSGFLAGS, COPY),
        (HEADER, b"\xff\xfe", b"v", ctypes.c_size_t(1)),
        (END,),
    ]
    assert lib.rd_kafka_producev(producer, *(part for one in said for part in one)) == 0
    assert lib.rd_kafka_flush(producer, 20_000) == 0
    lib.rd_kafka_destroy(producer)
