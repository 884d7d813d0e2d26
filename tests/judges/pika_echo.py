"""pika between two ends of HopMQ: what it has read it writes again.

`pika_echo.py echo URI FROM TO COUNT` moves COUNT messages from one queue to another, properties and all.
`pika_echo.py send URI TO` sends a message of its own with every property and every type that pika can write.
"""

import datetime
import decimal
import sys

import pika


def main():
    command, uri, *arguments = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    channel = connection.channel()
    channel.confirm_delivery()
    {"echo": echo, "send": send}[command](channel, *arguments)
    connection.close()


def echo(channel, source, target, count):
    for _ in range(int(count)):
        method, properties, body = channel.basic_get(source)
        channel.basic_publish("", target, body, properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)


def send(channel, target):
    everything = {
        "bool": True,
        "int": -(2**31),
        "long": 2**63 - 1,
        "decimal": decimal.Decimal("-3.14"),
        "string": "grüße",
        "bytes": b"\x00\xff",
        "timestamp": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "void": None,
    }
    headers = {**everything, "table": everything, "array": list(everything.values()), "none": [{}, []]}
    properties = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=2,
        priority=255,
        correlation_id="correlation",
        reply_to="reply",
        expiration="3600000",
        message_id="x" * 255,
        timestamp=2**64 - 1,
        type="kind",
        user_id="guest",
        app_id="",
        cluster_id="cluster",
    )
    channel.basic_publish("", target, b"from pika", properties, mandatory=True)


main()
