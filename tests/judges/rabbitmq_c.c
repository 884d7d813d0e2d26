/* rabbitmq-c between two ends of HopMQ: what it has read it writes again.
 *
 * `rabbitmq_c echo URI FROM TO COUNT` moves COUNT messages from one queue to another, properties and all.
 * `rabbitmq_c send URI TO` sends a message of its own with every property and every type that rabbitmq-c knows. */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static void die(const char *what) {
  fprintf(stderr, "rabbitmq_c: %s\n", what);
  exit(1);
}

static void check(amqp_rpc_reply_t reply, const char *what) {
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
    fprintf(stderr, "rabbitmq_c: %s\n", amqp_error_string2(reply.library_error));
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) die(what);
}

static amqp_connection_state_t connected(char *uri) {
  struct amqp_connection_info to;
  if (amqp_parse_url(uri, &to)) die("the URI");
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  if (!socket || amqp_socket_open(socket, to.host, to.port)) die("connect");
  check(amqp_login(connection, to.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, to.user, to.password), "login");
  if (!amqp_channel_open(connection, 1)) die("channel.open");
  return connection;
}

static void publish(amqp_connection_state_t connection, const char *queue, const amqp_basic_properties_t *properties,
                    amqp_bytes_t body) {
  if (amqp_basic_publish(connection, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 1, 0, properties, body))
    die("basic.publish");
}

static void echo(amqp_connection_state_t connection, const char *from, const char *to, int count) {
  amqp_basic_consume(connection, 1, amqp_cstring_bytes(from), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  check(amqp_get_rpc_reply(connection), "basic.consume");
  while (count-- > 0) {
    amqp_envelope_t envelope;
    struct timeval patience = {30, 0};
    amqp_maybe_release_buffers(connection);
    check(amqp_consume_message(connection, &envelope, &patience, 0), "basic.deliver");
    publish(connection, to, &envelope.message.properties, envelope.message.body);
    if (amqp_basic_ack(connection, 1, envelope.delivery_tag, 0)) die("basic.ack");
    amqp_destroy_envelope(&envelope);
  }
}

static amqp_field_value_t value(uint8_t kind) {
  amqp_field_value_t it;
  memset(&it, 0, sizeof it);
  it.kind = kind;
  return it;
}

static amqp_table_entry_t entry(const char *name, amqp_field_value_t it) {
  amqp_table_entry_t entry = {amqp_cstring_bytes(name), it};
  return entry;
}

/* One of each kind that has no parts, named by its tag. Returns how many. */
static int simple(amqp_table_entry_t *entries) {
  amqp_table_entry_t *next = entries;
#define ADD(tag, field, what)               \
  do {                                      \
    amqp_field_value_t it = value(tag[0]);  \
    it.value.field = what;                  \
    *next++ = entry(tag, it);               \
  } while (0)
  amqp_decimal_t decimal = {255, UINT32_MAX};
  amqp_bytes_t bytes = {4, "a\0\xff\xfe"};
  ADD("t", boolean, 1);
  ADD("b", i8, INT8_MIN);
  ADD("B", u8, UINT8_MAX);
  ADD("s", i16, INT16_MIN);
  ADD("u", u16, UINT16_MAX);
  ADD("I", i32, INT32_MIN);
  ADD("i", u32, UINT32_MAX);
  ADD("l", i64, INT64_MIN);
  ADD("L", u64, INT64_MAX);
  ADD("f", f32, -FLT_MAX);
  ADD("d", f64, 5e-324);
  ADD("D", decimal, decimal);
  ADD("S", bytes, amqp_cstring_bytes("gr\xc3\xbc\xc3\x9f" "e"));
  ADD("x", bytes, bytes);
  ADD("T", u64, UINT64_MAX);
  *next++ = entry("V", value('V'));
  return (int)(next - entries);
}

static void send_own(amqp_connection_state_t connection, const char *to) {
  amqp_table_entry_t entries[32], parts[32];
  amqp_field_value_t values[32];
  int count = simple(entries), in_parts = simple(parts);
  for (int at = 0; at < in_parts; at++) values[at] = parts[at].value;
  amqp_field_value_t table = value('F'), array = value('A');
  table.value.table.num_entries = array.value.array.num_entries = in_parts;
  table.value.table.entries = parts;
  array.value.array.entries = values;
  entries[count++] = entry("F", table);
  entries[count++] = entry("A", array);
  entries[count++] = entry("no F", value('F'));
  entries[count++] = entry("no A", value('A'));

  amqp_basic_properties_t p;
  memset(&p, 0, sizeof p);
  p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_HEADERS_FLAG |
             AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
             AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
             AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_APP_ID_FLAG |
             AMQP_BASIC_CLUSTER_ID_FLAG;
  p.content_type = amqp_cstring_bytes("text/plain");
  p.content_encoding = amqp_cstring_bytes("utf-8");
  p.headers.num_entries = count;
  p.headers.entries = entries;
  p.delivery_mode = 2;
  p.priority = 255;
  p.correlation_id = amqp_cstring_bytes("correlation");
  p.reply_to = amqp_cstring_bytes("reply");
  p.expiration = amqp_cstring_bytes("3600000");
  p.message_id = amqp_cstring_bytes("id");
  p.timestamp = UINT64_MAX;
  p.type = amqp_cstring_bytes("kind");
  p.user_id = amqp_cstring_bytes("guest");
  p.app_id = amqp_cstring_bytes("");
  p.cluster_id = amqp_cstring_bytes("cluster");
  publish(connection, to, &p, amqp_cstring_bytes("from rabbitmq-c"));
}

int main(int argc, char **argv) {
  if (argc < 4) die("echo URI FROM TO COUNT, or send URI TO");
  amqp_connection_state_t connection = connected(argv[2]);
  if (!strcmp(argv[1], "echo") && argc == 6)
    echo(connection, argv[3], argv[4], atoi(argv[5]));
  else
    send_own(connection, argv[3]);
  /* What was published is in its queue when the server has answered this. */
  check(amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS), "channel.close");
  check(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "connection.close");
  amqp_destroy_connection(connection);
  return 0;
}
