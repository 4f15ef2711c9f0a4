#!/usr/bin/env python3
"""An extraction from a server beside the download of both models from it, in turns, as one line of JSON.

    benches/compare/remote.py BASE TUNED [--runs N] [--phlora PATH] [-- OPTIONS OF EXTRACT]

BASE and TUNED are safetensors files. The server, a process of its own, adds 20 ms to each request and gives each connection at
most 50 MB/s. The download takes as many connections as the extraction, in the same pieces, and throws away what it gets. Of the
extraction: bytes of the answers over the bytes of both models, and the most that its memory and its spool took.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

DELAY, RATE, CONNECTIONS = 0.020, 50e6, 16
# As checkpoint/src/source/remote/queue.rs asks for them.
PIECE = 16 << 20
STEP = 1 << 20


def answer(connection, files, sent):
    """Answers the requests of a connection."""
    with connection, connection.makefile("rb") as lines:
        while request := lines.readline():
            path, headers = request.split()[1].decode().lstrip("/"), {}
            while (line := lines.readline().strip()):
                name, value = line.split(b":", 1)
                headers[name.lower()] = value.strip().decode()
            time.sleep(DELAY)
            if path == "sent":
                body = str(sum(sent)).encode()
                connection.sendall(b"HTTP/1.1 200 .\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                continue
            if path not in files:
                connection.sendall(b"HTTP/1.1 404 .\r\nContent-Length: 0\r\n\r\n")
                continue
            file, length = files[path]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
            first, last = (int(wanted[1]), min(int(wanted[2]), length - 1)) if wanted else (0, length - 1)
            place = f"Content-Range: bytes {first}-{last}/{length}\r\n" if wanted else ""
            head = f"HTTP/1.1 {206 if wanted else 200} .\r\nETag: \"1\"\r\n{place}Content-Length: {last + 1 - first}\r\n\r\n"
            connection.sendall(head.encode())
            started, at = time.monotonic(), first
            while at <= last:
                time.sleep(max(0.0, started + (at - first) / RATE - time.monotonic()))
                at += os.sendfile(connection.fileno(), file, at, min(STEP, last + 1 - at))
            sent.append(last + 1 - first)


def serve(base, tuned):
    """Serves until the process is ended; the port is on standard output."""
    files, sent = {}, []
    for name, path in [("base.safetensors", base), ("tuned.safetensors", tuned)]:
        file = os.open(path, os.O_RDONLY)
        files[name] = (file, os.fstat(file).st_size)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection, files, sent), daemon=True).start()


def get(port, path, headers=None):
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", path, headers=headers or {})
    return client.getresponse().read()


def download(port, lengths):
    """Both files over CONNECTIONS connections."""
    pieces = [(name, at, min(at + PIECE, length)) for name, length in lengths.items() for at in range(0, length, PIECE)]
    pieces.reverse()

    def work():
        client, buffer = http.client.HTTPConnection("127.0.0.1", port), bytearray(STEP)
        while True:
            try:
                name, start, end = pieces.pop()
            except IndexError:
                return
            client.request("GET", f"/{name}", headers={"Range": f"bytes={start}-{end - 1}"})
            got, response = 0, client.getresponse()
            while read := response.readinto(buffer):
                got += read
            assert got == end - start, f"{got} of {end - start} bytes"

    started = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def spooled(process, directory):
    """Bytes that files without a name in `directory` take."""
    found, descriptors = 0, f"/proc/{process}/fd"
    for descriptor in os.listdir(descriptors):
        path = f"{descriptors}/{descriptor}"
        if os.readlink(path).startswith(f"{directory}/"):
            found += os.stat(path).st_blocks * 512
    return found


def extract(phlora, port, directory, options):
    """Seconds, peak bytes of memory and of the spool."""
    models = [f"http://127.0.0.1:{port}/{side}.safetensors" for side in ("base", "tuned")]
    out = ["-o", f"{directory}/adapter", "--force", "--quiet", "--spool", directory, "--connections", str(CONNECTIONS)]
    started = time.monotonic()
    process = subprocess.Popen([phlora, "extract", *models, *out, *options])
    most, running = 0, True
    while running:
        try:
            most = max(most, spooled(process.pid, directory))
        except (FileNotFoundError, ProcessLookupError):
            pass
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        running = ended == 0
        if running:
            time.sleep(0.01)
    assert status == 0, f"phlora ended with {status}"
    seconds = time.monotonic() - started
    return seconds, usage.ru_maxrss * 1024, most, usage.ru_utime + usage.ru_stime


def main():
    if sys.argv[1] == "serve":
        return serve(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("tuned", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--phlora", default="target/release/phlora")
    parser.add_argument("options", nargs="*", default=["--rank", "32"])
    args = parser.parse_args()
    command = [sys.executable, __file__, "serve", str(args.base), str(args.tuned)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        lengths = {f"{side}.safetensors": path.stat().st_size for side, path in [("base", args.base), ("tuned", args.tuned)]}
        both, runs = sum(lengths.values()), []
        download(port, lengths)
        with tempfile.TemporaryDirectory(dir=".") as directory:
            directory = os.path.realpath(directory)
            for _ in range(args.runs):
                seconds = download(port, lengths)
                before = int(get(port, "/sent"))
                extracted, memory, spool, cpu = extract(args.phlora, port, directory, args.options)
                fetched = int(get(port, "/sent")) - before
                runs.append({"download": round(seconds, 3), "extract": round(extracted, 3), "cpu": round(cpu, 3),
                             "memory": memory, "spool": spool, "fetched": round(fetched / both, 4)})
                print(json.dumps(runs[-1]), file=sys.stderr)
        ratio = statistics.median(run["extract"] / run["download"] for run in runs)
        print(json.dumps({"bytes": both, "ratio": round(ratio, 3), "runs": runs}))
    finally:
        server.kill()


if __name__ == "__main__":
    main()
