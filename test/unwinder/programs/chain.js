// Opens a socket at the end of a chain of calls: connect() with an address makes it at once.
const net = require('node:net');

function inner() {
  const socket = net.connect({ host: '127.0.0.1', port: 1 });
  socket.on('error', () => process.exit(0));
}

function outer() {
  inner();
}

outer();
