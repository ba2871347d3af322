"""Any text is a Message or a ProtocolError, in every dialect, before and after its start; never anything else.

python fuzzing/fuzz_dialects.py -runs=1000000
"""

from __future__ import annotations

from target import fuzz, instrumented

with instrumented("receiver"):
    from receiver.dialects import DIALECTS, open_dialect
    from receiver.dialects.messages import Message
    from receiver.errors import ProtocolError

START = (
    '{"event":"start","start":{"streamSid":"s","callSid":"c","accountSid":"a","tracks":["inbound"],'
    '"customParameters":{"a":"b"},"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}'
)
MESSAGES = (
    "",  # the input as it is; below, a whole message with one piece of it replaced by the input
    START,
    '{"event":"media","media":{"track":"inbound","chunk":"1","timestamp":"20","payload":"QUJD"},"streamSid":"s"}',
    '{"event":"dtmf","streamSid":"s","dtmf":{"track":"inbound_track","digit":"1","duration":100}}',
    '{"event":"mark","mark":{"name":"x"}}',
    '{"event":"connected","version":"1.0.0","customParameters":{"a":1}}',
)


def text_of(data: bytes) -> str:
    """Make a text of an input: three bytes say where the rest goes, and what it replaces."""
    choice, place, length = (*data[:3], 0, 0, 0)[:3]
    message = MESSAGES[choice % len(MESSAGES)]
    cut = place * len(message) // 256
    piece = data[3:].decode(errors="surrogateescape")  # bytes that are no UTF-8 become lone surrogates
    return message[:cut] + piece + message[cut + length % 64 :]


def test_one_input(data: bytes) -> None:
    """Read the input in each dialect: first of all, and after a start."""
    text = text_of(data)
    for name in DIALECTS:
        for started in (False, True):
            dialect = open_dialect(name)
            if started:
                dialect.parse(START)
            try:
                message = dialect.parse(text)
            except ProtocolError as error:
                if not 0 < len(error.reason.encode()) <= 120:
                    raise AssertionError(error.reason) from error
            else:
                if not isinstance(message, Message):
                    raise AssertionError(message)


SEEDS = tuple(bytes((choice, place, 0)) for choice in range(len(MESSAGES)) for place in (0, 100, 255))

if __name__ == "__main__":
    fuzz(test_one_input, "dialects", SEEDS, max_len=4096)
