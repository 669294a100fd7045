/** Records of the kernel side, for tests of what decodes them. */
import type { RecordLayout } from '../../src/kernel/layout.ts';

/** One record whose fields are set by name, in the machine's byte order. */
export function record<L extends RecordLayout>(
  layout: L,
  fields: Partial<Record<keyof L['fields'], bigint | Uint8Array>>,
): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  for (const [name, value] of Object.entries(fields) as [string, bigint | Uint8Array][]) {
    const [offset, size] = layout.fields[name] as readonly [number, number];
    if (typeof value !== 'bigint') bytes.set(value.subarray(0, size), offset);
    else for (let i = 0; i < size; i++) bytes[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
  return bytes;
}
