// Listens at the end of a chain of calls; on a name, because only that is bound at once and not in the next tick.
import { createServer } from 'node:net';

function inner() {
  createServer().listen(`\0socktrace-test-${process.pid}`, () => process.exit(0));
}

function outer() {
  inner();
}

outer();
