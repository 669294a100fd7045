/** What the unwinder answers, in the ledger's words: enums of native/unwinder/protocol.h. */
import type { CallPath, FrameHow, PathId, PathQuality } from '../ledger/types.ts';
import type { NativeFrame, PumpedPaths } from './binding.ts';

/** enum PathQuality */
const QUALITIES: readonly (PathQuality | undefined)[] = [
  undefined,
  'complete',
  'truncated',
  'unreliable',
  'unreadable',
];

/** enum FrameHow */
const WAYS: readonly (FrameHow | undefined)[] = [undefined, 'leaf', 'cfi', 'frame-pointer', 'guess', 'inlined'];

export function formatPathId(path: bigint): PathId {
  return path.toString(16).padStart(16, '0');
}

/** The unwinder may have been taken over by what it read: numbers that mean nothing are the least that can be meant. */
export function callPathOf({ path, quality, notes, frames }: PumpedPaths['named'][number]): CallPath {
  return {
    id: formatPathId(path),
    quality: QUALITIES[quality] ?? 'unreadable',
    notes,
    frames: frames.map(frameOf),
  };
}

function frameOf({
  function: name,
  module,
  buildId,
  offset,
  file,
  line,
  how,
}: NativeFrame): CallPath['frames'][number] {
  return {
    function: name === '' ? null : name,
    module: module === '' ? '[jit]' : module,
    buildId: buildId === '' ? null : buildId,
    offset: `0x${offset.toString(16)}`,
    file: file === '' ? null : file,
    line: line === 0 ? null : line,
    how: WAYS[how] ?? 'guess',
  };
}
