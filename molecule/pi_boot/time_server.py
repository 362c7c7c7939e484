"""A time server that says what this machine's clock says: RFC 5905, section 7.3."""

import socket
import struct
import time

SINCE_1900 = 2208988800

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 123))
    while True:
        request, client = server.recvfrom(1024)
        now = struct.pack("!Q", int((time.time() + SINCE_1900) * 2**32))
        # Version 4, server, stratum 1; the client's own time comes back to it.
        server.sendto(struct.pack("!BBbb8x4s", 0x24, 1, 6, -20, b"TEST") + now + request[40:48] + now + now, client)
