"""pika against a broker: `roundtrip.py URI COUNT` prints `pika ok: ...`, or a traceback with exit code 1.

pika is a client that somebody else wrote, so what it reads here is what the broker really said.
"""

import contextlib
import datetime
import decimal
import sys
import uuid

import pika
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAuthenticationError,
    UnroutableError,
)

PREFETCH = 50
PATIENCE = 30  # seconds without a delivery before a test fails

HEADERS = {  # every type that pika can write; it has no doubles
    "bool": True,
    "int": -7,
    "int, 64 bits": -(2**40),
    "decimal": decimal.Decimal("-3.14"),
    "string": "grüße",
    "string, empty": "",
    "string, long": "x" * 1000,
    "bytes": b"\x00\xff\xfe",
    "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
    "void": None,
    "table": {"in": {"in": {"in": 1}}, "empty": {}},
    "array": [1, "two", None, [3, False], {"four": 4}],
    "array, empty": [],
}


def main():
    uri, count = sys.argv[1], int(sys.argv[2])
    parameters = pika.URLParameters(uri)
    wrong_password(parameters)
    connection = pika.BlockingConnection(parameters)
    with contextlib.closing(connection):
        for scenario in (
            confirmed_roundtrip,
            server_named_queue,
            bodies_of_every_size,
            exchanges,
            mandatory,
            get,
            requeue,
            purge_and_delete,
            missing_queue,
        ):
            channel = connection.channel()
            channel.confirm_delivery()
            scenario(channel, count)
            if channel.is_open:
                channel.close()
    print(f"pika ok: {count} messages confirmed, consumed and acked; pika {pika.__version__}")


def confirmed_roundtrip(channel, count):
    """Every message arrives once, in order, with its body, properties and headers unchanged."""
    queue = declare_durable(channel)
    for n in range(count):
        channel.basic_publish("", queue, body(n), properties(n), mandatory=True)
    expect_ready(channel, queue, count)

    channel.basic_qos(prefetch_count=PREFETCH)
    for n in range(count):
        method, got, content = next_delivery(channel, queue)
        expect(method.delivery_tag, n + 1)
        expect(method.redelivered, False)
        expect((method.exchange, method.routing_key), ("", queue))
        expect(content, body(n))
        expect(vars(got), vars(properties(n)))
        channel.basic_ack(method.delivery_tag)
    expect(channel.cancel(), 0)
    expect(channel.queue_delete(queue).method.message_count, 0)


def server_named_queue(channel, _count):
    """A queue without a name gets one; it is exclusive to its connection, and the empty name then means this queue."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-"), queue
    channel.basic_publish("", queue, b"to the server's name")
    expect_ready(channel, queue, 1)
    expect(channel.queue_purge(queue).method.message_count, 1)
    other = declare_exclusive(channel)
    assert other != queue, "a name was given twice"


def bodies_of_every_size(channel, _count):
    """Empty, one frame exactly, and many frames."""
    queue = declare_exclusive(channel)
    frame = channel.connection._impl.params.frame_max - 8  # the frame's own 8 bytes
    for size in (0, 1, frame - 1, frame, frame + 1, 3 * frame, 1_000_000):
        sent = bytes(n % 251 for n in range(size))
        channel.basic_publish("", queue, sent)
        _, _, received = channel.basic_get(queue, auto_ack=True)
        assert received == sent, f"a body of {size} bytes came back as {len(received)}"


def exchanges(channel, _count):
    """Each exchange type routes by its own rule, until the binding is gone."""
    for kind, arguments, matching, other in (
        ("direct", {}, ("red", {}), ("blue", {})),
        ("fanout", {}, ("whatever", {}), None),
        ("topic", {}, ("red.a.b", {}), ("a.red", {})),
        ("headers", {"x-match": "all", "a": 1, "b": "two"}, ("", {"a": 1, "b": "two", "c": 3}), ("", {"a": 1})),
        ("headers", {"x-match": "any", "a": 1, "b": "two"}, ("", {"a": 1}), ("", {"a": 2})),
    ):
        exchange, queue = unique(kind), declare_exclusive(channel)
        key = {"direct": "red", "topic": "red.#"}.get(kind, "")
        channel.exchange_declare(exchange, kind)
        channel.queue_bind(queue, exchange, key, arguments)
        expect_routed(channel, exchange, matching, True)
        if other:
            expect_routed(channel, exchange, other, False)
        expect_ready(channel, queue, 1)
        channel.queue_unbind(queue, exchange, key, arguments)
        expect_routed(channel, exchange, matching, False)
        channel.exchange_delete(exchange)
        channel.queue_delete(queue)


def mandatory(channel, _count):
    """A mandatory message that no queue takes comes back, and is confirmed after that."""
    nowhere = unique("nowhere")
    try:
        channel.basic_publish("", nowhere, b"lost", properties(1), mandatory=True)
    except UnroutableError as error:
        (returned,) = error.messages
        expect((returned.method.reply_code, returned.method.reply_text), (312, "NO_ROUTE"))
        expect((returned.method.exchange, returned.method.routing_key), ("", nowhere))
        expect(returned.body, b"lost")
        expect(vars(returned.properties), vars(properties(1)))
    else:
        raise AssertionError("an unroutable mandatory message was not returned")
    channel.basic_publish("", nowhere, b"lost, and nobody minds")


def get(channel, _count):
    """basic.get counts what is left, and says so when nothing is."""
    queue = declare_exclusive(channel)
    expect(channel.basic_get(queue), (None, None, None))
    for n in range(2):
        channel.basic_publish("", queue, body(n), properties(n))
    for n in range(2):
        method, got, content = channel.basic_get(queue)
        expect((method.message_count, method.redelivered, content), (1 - n, False, body(n)))
        expect(vars(got), vars(properties(n)))
    channel.basic_ack(method.delivery_tag, multiple=True)
    expect(channel.basic_get(queue), (None, None, None))


def requeue(channel, _count):
    """What is handed back comes again at its old place, marked; what is refused for good does not."""
    queue = declare_exclusive(channel)
    for n in range(3):
        channel.basic_publish("", queue, body(n))
    first, _, _ = channel.basic_get(queue)
    second, _, _ = channel.basic_get(queue)
    channel.basic_nack(first.delivery_tag, requeue=True)
    channel.basic_reject(second.delivery_tag, requeue=False)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    expect([(method.redelivered, content) for method, _, content in got[:2]], [(True, body(0)), (False, body(2))])
    expect(got[2], (None, None, None))


def purge_and_delete(channel, _count):
    """purge and delete say how many messages they took."""
    queue = declare_durable(channel)
    for asked in (channel.queue_purge, channel.queue_delete):
        for n in range(5):
            channel.basic_publish("", queue, body(n), properties(n), mandatory=True)
        expect(asked(queue).method.message_count, 5)


def missing_queue(channel, _count):
    """A passive declare of what is not there closes the channel with 404, and the channel only."""
    try:
        channel.queue_declare(unique("missing"), passive=True)
    except ChannelClosedByBroker as error:
        expect(error.reply_code, 404)
    else:
        raise AssertionError("a queue that does not exist was found")
    assert channel.is_closed and channel.connection.is_open


def wrong_password(right):
    parameters = pika.ConnectionParameters(
        right.host,
        right.port,
        right.virtual_host,
        pika.PlainCredentials(right.credentials.username, "wrong"),
    )
    try:
        pika.BlockingConnection(parameters)
    except ProbableAuthenticationError:
        pass
    except ConnectionClosedByBroker as error:
        expect(error.reply_code, 403)
    else:
        raise AssertionError("a wrong password was accepted")


def body(n):
    return f"message {n} ".encode() * (n % 20)


def properties(n):
    """All fourteen, cluster-id included, each telling messages apart where its type allows it."""
    return pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={**HEADERS, "n": n},
        delivery_mode=1 + n % 2,
        priority=n % 10,
        correlation_id=f"correlation {n}",
        reply_to=f"reply {n}",
        expiration=str(3_600_000 + n),
        message_id=f"id {n}",
        timestamp=1_700_000_000 + n,
        type=f"type {n}",
        user_id="guest",
        app_id="hopmq",
        cluster_id="cluster",
    )


def next_delivery(channel, queue):
    delivery = next(channel.consume(queue, inactivity_timeout=PATIENCE))
    assert delivery[0] is not None, f"no delivery within {PATIENCE} s"
    return delivery


def declare_durable(channel):
    queue = unique("queue")
    expect(channel.queue_declare(queue, durable=True).method.queue, queue)
    return queue


def declare_exclusive(channel):
    return channel.queue_declare("", exclusive=True).method.queue


def expect_ready(channel, queue, count):
    expect(channel.queue_declare(queue, passive=True).method.message_count, count)


def expect_routed(channel, exchange, message, routed):
    key, headers = message
    try:
        channel.basic_publish(exchange, key, b"", pika.BasicProperties(headers=headers), mandatory=True)
        expect(True, routed)
    except UnroutableError:
        expect(False, routed)
    except NackError as error:
        raise AssertionError(f"the broker refused {message}") from error


def expect(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def unique(what):
    return f"pika-{what}-{uuid.uuid4()}"


main()
