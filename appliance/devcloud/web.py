"""A web server that tells each client the address it is seen by: `python web.py ADDRESS PORT`.

Each answer is one write: a header and a body in two would make Nagle's algorithm and delayed
acknowledgement wait for each other, 40 ms a request, and hide what a router costs.
"""

import socketserver
import sys


class Answer(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    timeout = 60

    def handle(self) -> None:
        body = f"{self.client_address[0]}\n".encode()
        head = (
            "HTTP/1.1 200 OK\r\n"
            "Content-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Server: {self.request.getsockname()[0]}\r\n\r\n"
        ).encode()
        try:
            while request := self.rfile.readline(65537):
                while self.rfile.readline(65537).strip():
                    continue
                self.wfile.write(head if request.startswith(b"HEAD ") else head + body)
        except OSError:
            return  # The client went away, or was silent for too long.


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    with Server((sys.argv[1], int(sys.argv[2])), Answer) as server:
        server.serve_forever()
