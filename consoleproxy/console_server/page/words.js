// What is said for each code of the proxy; see docs/console.md.
const WORDS = {
  'away': 'You were away for too long: this console session has ended. Open the console anew.',
  'closed': 'The console was closed.',
  'console-closed': 'The guest\'s console closed the connection. The guest may have stopped or moved.',
  'console-full': 'This console has as many viewers as it may have.',
  'console-refused': 'The hypervisor refuses the console. The operator finds why in the proxy\'s log.',
  'console-timeout': 'The guest\'s console doesn\'t answer.',
  'console-unknown': 'This proxy no longer has this console. Open the console anew.',
  'console-unreachable': 'The hypervisor can\'t be reached.',
  'draining': 'This proxy takes no new sessions. Open the console anew.',
  'elsewhere': 'Taken over: this session goes on in another window.',
  'guest-off': 'The guest is off.',
  'idle': 'Nothing happened for a long time: the session has ended. Open the console anew.',
  'kicked': 'An administrator has ended this session.',
  'no-ticket': 'This page needs a ticket. Open the console from where your guest is listed.',
  'proxy-busy': 'The proxy is busy. Trying again …',
  'proxy-full': 'This proxy has as many sessions as it may have. Open the console anew.',
  'session-over': 'The session has lasted as long as it may. Open the console anew.',
  'session-unknown': 'This session has ended. Open the console anew.',
  'ticket-elsewhere': 'This ticket is for another network address.',
  'ticket-expired': 'The ticket has expired. Open the console anew.',
  'ticket-foreign': 'This ticket is not for this proxy.',
  'ticket-invalid': 'This ticket can\'t be read. Open the console anew.',
  'ticket-revoked': 'This ticket was revoked.',
  'ticket-used': 'This ticket was used before. Open the console anew.',
  'user-full': 'You have as many console sessions as you may have. Close one first.',
};

export function words(code) {
  return WORDS[code] || `The console was closed (${code || 'no reason given'}).`;
}
