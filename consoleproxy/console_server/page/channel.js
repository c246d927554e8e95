// One WebSocket with two things in it: the console's bytes as binary frames, which whoever shows it gets,
// and what the proxy says of the session as text frames.
export class Channel {
  constructor(token, told) {
    const url = new URL('v1/connect', document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    this.onopen = this.onmessage = this.onerror = this.onclose = null;
    this.onend = null;
    this._socket = new WebSocket(url, ['binary', `sysvm.token.${token}`]);
    this._socket.binaryType = 'arraybuffer';
    this._socket.onopen = (event) => this.onopen && this.onopen(event);
    this._socket.onerror = (event) => this.onerror && this.onerror(event);
    this._socket.onmessage = (event) => {
      if (typeof event.data === 'string') told(JSON.parse(event.data));
      else if (this.onmessage) this.onmessage(event);
    };
    this._socket.onclose = (event) => {
      if (this.onend) this.onend(event);
      if (this.onclose) this.onclose(event);
    };
  }
  get binaryType() { return this._socket.binaryType; }
  set binaryType(kind) { this._socket.binaryType = kind; }
  get protocol() { return this._socket.protocol; }
  get readyState() { return this._socket.readyState; }
  get bufferedAmount() { return this._socket.bufferedAmount; }
  send(bytes) { this._socket.send(bytes); }
  command(value) {
    if (this.readyState === WebSocket.OPEN) this._socket.send(JSON.stringify(value));
  }
  close(code, reason) { this._socket.close(code, reason); }
}
