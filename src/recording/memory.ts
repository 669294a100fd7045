/** Refuses what does not fit into memory: V8 ends the process without a word when its heap has reached its limit. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { formatBytes } from '../render/numbers.ts';
import { RecordingError } from './format.ts';

/** Of the heap's limit: a report of what was read takes the rest. */
const MOST = 0.7;

/** @throws RecordingError when what was read of this file takes most of the memory there is */
export function checkMemory(path: string): void {
  if (!isScarce()) return;
  // What is used includes garbage, of which V8 lets much lie while there is room.
  collectGarbage();
  if (!isScarce()) return;
  const { heap_size_limit: limit } = getHeapStatistics();
  throw new RecordingError(
    `${path} holds more than fits into ${formatBytes(limit)} of memory: NODE_OPTIONS=--max-old-space-size=${Math.ceil((2 * limit) / 2 ** 20)} gives it twice as much`,
  );
}

function isScarce(): boolean {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return used > MOST * limit;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
