// Keys by their X11 keysyms.
const CONTROL = [0xffe3, 'ControlLeft'], ALT = [0xffe9, 'AltLeft'], SUPER = [0xffeb, 'MetaLeft'];

export const CHORDS = {
  'Ctrl-Alt-Del': [CONTROL, ALT, [0xffff, 'Delete']],
  'Ctrl-Alt-Backspace': [CONTROL, ALT, [0xff08, 'Backspace']],
  'Alt-Tab': [ALT, [0xff09, 'Tab']],
  'Alt-F4': [ALT, [0xffc1, 'F4']],
  'Super': [SUPER],
  'Escape': [[0xff1b, 'Escape']],
  'Print Screen': [[0xff61, 'PrintScreen']],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map(
    (number) => [`Ctrl-Alt-F${number}`, [CONTROL, ALT, [0xffbd + number, `F${number}`]]])),
};

export function press(rfb, chord) {
  for (const [keysym, code] of chord) rfb.sendKey(keysym, code, true);
  for (const [keysym, code] of [...chord].reverse()) rfb.sendKey(keysym, code, false);
}

// A character as a key: Latin-1 as it is, others as X11's keysyms of Unicode (keysymdef.h).
export function keysym(character) {
  const point = character.codePointAt(0);
  if (point === 10 || point === 13) return 0xff0d;
  if (point === 9) return 0xff09;
  if (point === 8) return 0xff08;
  return (point >= 0x20 && point <= 0x7e) || (point >= 0xa0 && point <= 0xff) ? point : 0x01000000 | point;
}

export function type(rfb, text) {
  // No code: the server finds the key of the guest's own layout.
  for (const character of text.replace(/\r\n/g, '\n')) rfb.sendKey(keysym(character), null);
}
