"""pamqp's codec: a frame in hex on each line in; `NAME HEX`, the frame decoded and encoded again, or `refused WHY` out."""

import sys

from pamqp import commands, frame

# The specification's rules on names and reserved fields are no matter of the codec. pamqp asks them when it encodes: it
# would not encode a channel.open that it has decoded.
for method in commands.INDEX_MAPPING.values():
    method.validate = lambda self: None


def again(octets):
    consumed, channel, decoded = frame.unmarshal(octets)
    assert consumed == len(octets), (consumed, len(octets))
    return f"{decoded.name} {frame.marshal(decoded, channel).hex()}"


for line in sys.stdin:
    try:
        print(again(bytes.fromhex(line)))
    except Exception as error:
        print("refused", type(error).__name__, str(error).replace("\n", " "))
