/** Refuses what does not fit into memory: V8 ends the process without a word when its heap has reached its limit. */
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { formatBytes } from '../render/numbers.ts';
import { RecordingError } from './format.ts';

/** Of the heap's limit, of what is read of a file: a report of it takes the rest. */
const MOST_OF_FILE = 0.7;
/** What V8 counts to the limit for objects that are new, and which none that stays may have. */
const YOUNG_BYTES = 48 * 2 ** 20;

/** @throws RecordingError when what was read of this file takes most of the memory there is */
export function checkMemory(path: string): void {
  if (isMemoryUsedUp(MOST_OF_FILE)) throw new RecordingError(`${path} holds more than fits into ${memoryInWords()}`);
}

/** Whether more than this share of the memory there is has been taken. */
export function isMemoryUsedUp(share: number): boolean {
  if (!isScarce(share)) return false;
  // What is used includes garbage, of which V8 lets much lie while there is room.
  collectGarbage();
  return isScarce(share);
}

/** Bytes of the memory there is. */
export function shareOfMemory(share: number): number {
  return share * limitBytes();
}

/** How much memory there is, and how to have more. */
export function memoryInWords(): string {
  const limit = limitBytes();
  const option = `NODE_OPTIONS=--max-old-space-size=${Math.ceil((2 * limit) / 2 ** 20)}`;
  return `${formatBytes(limit)} of memory: ${option} gives it twice as much`;
}

function isScarce(share: number): boolean {
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => !name.startsWith('new'));
  return spaces.reduce((sum, { space_used_size: used }) => sum + used, 0) > shareOfMemory(share);
}

function limitBytes(): number {
  const { heap_size_limit: limit } = getHeapStatistics();
  return Math.max(limit - YOUNG_BYTES, limit / 4);
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
