import RFB from './novnc/core/rfb.js';
import { Channel } from './channel.js';
import { CHORDS, press, type } from './keys.js';
import { words } from './words.js';

const $ = (id) => document.getElementById(id);
const AGAIN_SECONDS = [0.2, 1, 2, 3, 5, 5, 10, 10, 10, 15];
const FINAL = new Set(['kicked', 'idle', 'session-over', 'session-unknown', 'elsewhere', 'away', 'closed',
  'console-unknown', 'ticket-elsewhere', 'console-refused']);
const state = { token: null, kind: 'vnc', channel: null, shown: null, view: {}, tries: 0, asked: 0, ended: null };

function say(code, { again = false } = {}) {
  $('words').textContent = words(code);
  $('again').hidden = !again;
  $('notice').hidden = false;
  document.body.dataset.state = code;
}

// The ticket is behind the #, which no server sees; and it leaves the address at once, and the history with it.
function ticket() {
  const given = new URLSearchParams(location.hash.slice(1)).get('ticket');
  if (given) history.replaceState(null, '', location.pathname + location.search);
  return given;
}

async function begin() {
  const given = ticket();
  if (given) {
    const answer = await fetch('v1/sessions', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ticket: given }),
    }).then((response) => response.json()).catch(() => ({ error: 'proxy-busy' }));
    if (answer.error) { say(answer.error); return; }
    sessionStorage.setItem('session', JSON.stringify({ token: answer.token, kind: answer.kind }));
  }
  const kept = sessionStorage.getItem('session');
  if (!kept) { say('no-ticket'); return; }
  Object.assign(state, JSON.parse(kept));
  connect();
}

function connect() {
  const channel = state.channel = new Channel(state.token, told);
  channel.onend = (event) => ended(channel, event);
  document.querySelectorAll('.vnc').forEach((each) => { each.hidden = state.kind !== 'vnc'; });
  $('screen').replaceChildren();
  state.shown = state.kind === 'text' ? showText(channel) : showScreen(channel);
}

function ready() {
  state.tries = 0;
  $('notice').hidden = true;
  document.body.dataset.state = 'connected';
}

function ended(channel, event) {
  if (state.channel !== channel) return;
  state.channel = null;
  const code = event.reason || (event.code === 1000 ? 'closed' : 'cut');
  if (FINAL.has(code)) {
    sessionStorage.removeItem('session');
    say(code);
    return;
  }
  const seconds = AGAIN_SECONDS[state.tries++];
  say(code === 'cut' ? 'proxy-busy' : code, { again: true });
  if (seconds !== undefined) state.timer = setTimeout(connect, 1000 * seconds);
}

function showScreen(channel) {
  const rfb = new RFB($('screen'), channel, { shared: true });
  rfb.scaleViewport = $('scale').getAttribute('aria-pressed') === 'true';
  rfb.background = '#000';
  rfb.addEventListener('connect', () => { ready(); rights(); rfb.focus(); });
  rfb.addEventListener('clipboard', (event) => {
    if (state.view.rights?.includes('clipboard')) {
      $('text').value = event.detail.text;
      navigator.clipboard?.writeText(event.detail.text).catch(() => {});
    }
  });
  return {
    rfb,
    type: (text) => type(rfb, text),
    focus: () => rfb.focus(),
  };
}

function showText(channel) {
  const terminal = new Terminal({ cols: 80, rows: 25, scrollback: 5000 });
  terminal.open($('screen'));
  const decoder = new TextDecoder(), encoder = new TextEncoder();
  channel.onmessage = (event) => terminal.write(decoder.decode(event.data, { stream: true }));
  const send = (text) => {
    if (state.view.controls && channel.readyState === WebSocket.OPEN) channel.send(encoder.encode(text));
  };
  terminal.onData(send);
  terminal.focus();
  return { terminal, type: (text) => send(text.replace(/\n/g, '\r')), focus: () => terminal.focus() };
}

// What the proxy tells of the session.
function told(value) {
  if (value.pong) {
    const took = Math.round(performance.now() - state.asked);
    $('quality').hidden = false;
    $('quality').textContent = `${took} ms`;
    $('quality').className = took > 500 ? 'bad' : took > 150 ? 'slow' : '';
    return;
  }
  state.view = value;
  $('title').textContent = document.title = value.title;
  $('viewers').hidden = value.viewers < 2;
  $('viewers').textContent = `${value.viewers} viewers` + (value.controller ? `, ${value.controller} has control` : '');
  if (state.kind === 'text') ready();
  rights();
}

function rights() {
  const { controls, asked, asking } = state.view, has = state.view.rights || [];
  $('badge').hidden = Boolean(controls);
  $('ask').hidden = controls || !has.includes('control');
  $('ask').disabled = Boolean(asked);
  $('ask').textContent = asked ? 'Asked for control' : 'Ask for control';
  $('asking').hidden = !asking;
  $('asker').textContent = asking || '';
  document.querySelectorAll('.controls').forEach((each) => {
    each.hidden = !controls || (each.classList.contains('vnc') && state.kind !== 'vnc');
  });
  $('copy').hidden = state.kind !== 'vnc' || !has.includes('clipboard');
  if (state.shown?.rfb) state.shown.rfb.viewOnly = !controls;
}

for (const [name, chord] of Object.entries(CHORDS)) {
  const button = document.createElement('button');
  button.textContent = name;
  button.onclick = () => { press(state.shown.rfb, chord); $('keys').open = false; state.shown.focus(); };
  $('chords').append(button);
}
$('cad').onclick = () => { press(state.shown.rfb, CHORDS['Ctrl-Alt-Del']); state.shown.focus(); };
$('ask').onclick = () => state.channel?.command({ do: 'ask' });
$('give').onclick = () => state.channel?.command({ do: 'give' });
$('refuse').onclick = () => state.channel?.command({ do: 'refuse' });
$('type').onclick = () => { state.shown.type($('text').value); $('paste').open = false; state.shown.focus(); };
$('copy').onclick = () => { state.shown.rfb.clipboardPasteFrom($('text').value); $('paste').open = false; };
$('again').onclick = () => { clearTimeout(state.timer); connect(); };
$('full').onclick = () => document.fullscreenElement
  ? document.exitFullscreen() : document.documentElement.requestFullscreen();
$('scale').onclick = () => {
  const fit = $('scale').getAttribute('aria-pressed') !== 'true';
  $('scale').setAttribute('aria-pressed', String(fit));
  Object.assign(state.shown.rfb, { scaleViewport: fit, clipViewport: !fit, dragViewport: false });
};
// A phone's keyboard writes into a field; what it wrote is typed.
$('keyboard').onclick = () => $('touch').focus();
$('touch').addEventListener('input', () => { state.shown.type($('touch').value); $('touch').value = ''; });
$('touch').addEventListener('keydown', (event) => {
  if (event.key === 'Backspace' && !$('touch').value) state.shown.type(state.kind === 'vnc' ? '\b' : '\x7f');
});
setInterval(() => {
  state.asked = performance.now();
  state.channel?.command({ do: 'ping' });
}, 5000);
begin();
