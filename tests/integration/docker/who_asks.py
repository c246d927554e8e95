"""Tell whoever connects to port 80 which address that came from. It runs in a container, by itself."""

from socketserver import StreamRequestHandler, ThreadingTCPServer


class Request(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.client_address[0].encode())


ThreadingTCPServer.allow_reuse_address = True
with ThreadingTCPServer(("", 80), Request) as server:
    server.serve_forever()
