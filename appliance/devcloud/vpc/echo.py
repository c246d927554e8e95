"""Sends lines and datagrams back to whom they came from: `python echo.py PORT [ADDRESS]`."""

import socketserver
import sys
import threading


class Lines(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.wfile.write(line)
        except OSError:
            return  # The client went away.


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        content, connection = self.request
        connection.sendto(content, self.client_address)


class Connections(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    # A datagram's answer comes from the address that was asked only where there is but one.
    place = (sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0", int(sys.argv[1]))  # noqa: S104
    with Connections(place, Lines) as connections, socketserver.UDPServer(place, Datagrams) as datagrams:
        threading.Thread(target=datagrams.serve_forever, daemon=True).start()
        connections.serve_forever()
