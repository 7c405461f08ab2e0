"""Messages to bodies of frames and back.

A module of its own, which `frames` imports at the first message: msgspec costs a client more to import than connecting
does. What is made here is made by importing it, so that one thread makes it, and others wait for that. msgspec finds
out once for each class of messages what its fields are, and meanwhile the class is there without some of them. Another
thread that makes a decoder of its own then, and decodes a message with it, ends the process by SIGSEGV.
"""

from __future__ import annotations

import msgspec

from orcha._protocol.messages import ClientMessage, ServiceMessage

encode = msgspec.msgpack.Encoder().encode
decode_client = msgspec.msgpack.Decoder(ClientMessage).decode
decode_service = msgspec.msgpack.Decoder(ServiceMessage).decode
ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
"""What the decoders raise for bytes that are no message."""

__all__ = ["ERRORS", "decode_client", "decode_service", "encode"]
