"""Posts a log as the old shipper does: JSON by `requests`, no connection kept, again until it has an answer.

old_shipper.py URL HOST LINES_PER_CHUNK FAULTS SEED < LOG

FAULTS is the share of posts whose answer does not get through: the client hangs up before it has read it.
Prints each answer. Ends with 1 and the reason where a chunk is refused.
"""

import json
import random
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

import requests


def lose_answer(url, body, chance):
    """Posts, and is gone before the answer is read: at once, a little later, or with a reset."""
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(request.encode() + body)
        time.sleep(chance.choice([0, 0.005, 0.02, 0.1]))
        if chance.random() < 0.3:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def main():
    url, host, lines_per_chunk, faults, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    lines = sys.stdin.buffer.read().decode().split("\n")[:-1]
    for start in range(0, len(lines), int(lines_per_chunk)):
        # The shipper joined what it had read line by line, newlines included: every other line is blank.
        joined = "\n".join(line + "\n" for line in lines[start : start + int(lines_per_chunk)])
        payload = {"log": joined, "host": host}
        while chance.random() < float(faults):
            lose_answer(url, json.dumps(payload).encode(), chance)
        # The library asks to keep the connection unless told not to.
        headers = {"Connection": "close"} if chance.random() < 0.5 else None
        answer = requests.post(url, json=payload, headers=headers, timeout=30)
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            sys.exit(f"{error}: {answer.text}")
        print(answer.text)


main()
