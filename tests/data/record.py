"""A proxy before a relay that keeps what goes through it, byte for byte.

    record.py LISTEN-PORT RELAY-PORT FOLDER

FOLDER/requests/ gets every request, numbered in their order. FOLDER/answers/ gets the first answer to each question: the file's name
is what was asked for, `heartbeat`, `streams-FILES` (how many files) or `chunks-RANGE`.
"""

import json
import os
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
folder = sys.argv[3]
for kind in ("requests", "answers"):
    os.makedirs(f"{folder}/{kind}", exist_ok=True)
count = 0
one_at_a_time = threading.Lock()


def message(stream, data):
    """The next message on a stream of which `data` is read already, its fields, its body, and what follows it."""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            return None, {}, b"", b""
        data += piece
    head, _, _ = data.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    length = len(head) + 4 + int(fields.get(b"content-length", b"0"))
    while len(data) < length:
        data += stream.recv(65536)
    return data[:length], fields, data[len(head) + 4 : length], data[length:]


def question(name, fields, body):
    if name == "streams":
        return f"streams-{len(json.loads(body)['files'])}"
    if name == "chunks":
        return f"chunks-{fields[b'ferry-range'].decode()}"
    return name


def serve(client):
    global count
    relay = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    sent, answered = b"", b""
    while True:
        request, fields, body, sent = message(client, sent)
        if request is None:
            return
        name = request.split(b" ")[1].decode().rsplit("/", 1)[1]
        with one_at_a_time:
            count += 1
            with open(f"{folder}/requests/{count:02}-{name}.http", "wb") as file:
                file.write(request)
        relay.sendall(request)
        answer, _, _, answered = message(relay, answered)
        kept = f"{folder}/answers/{question(name, fields, body)}.http"
        if not os.path.exists(kept):
            with open(kept, "wb") as file:
                file.write(answer)
        client.sendall(answer)


while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
