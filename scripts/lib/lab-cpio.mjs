/** Writes a cpio archive in the "newc" format, which the kernel unpacks as its first file system. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { posix } from 'node:path';

const FILE = 0o100000;
const FOLDER = 0o040000;
const LINK = 0o120000;

const padding = (length) => Buffer.alloc((4 - (length % 4)) % 4);
const hex = (number) => number.toString(16).padStart(8, '0');

/** One member: header, name and content, each padded to 4 bytes. */
function member(number, name, mode, content) {
  const bytes = Buffer.byteLength(name) + 1;
  // inode, mode, uid, gid, links, time, size, device, device of a device node, length of the name, checksum
  const fields = [number, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, bytes, 0].map(hex).join('');
  const head = Buffer.from(`070701${fields}${name}\0`);
  return [head, padding(head.length), content, padding(content.length)];
}

const parents = (path) => {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [...parents(folder), folder];
};

/**
 * `entries`: path without a leading slash -> {from: file} | {text} | {link: target} | {folder: true}, with an optional `mode`.
 * The kernel makes no parent folders by itself, so they are added; a symbolic link stands for a folder where one is named.
 */
export function writeCpio(file, entries) {
  const folders = [...entries.keys()].flatMap(parents).filter((folder) => !entries.has(folder));
  const all = new Map([...[...new Set(folders)].map((folder) => [folder, { folder: true }]), ...entries]);
  const out = openSync(file, 'w');
  try {
    let number = 1;
    const write = (name, mode, content) => {
      for (const part of member(number++, name, mode, content)) writeSync(out, part);
    };
    for (const name of [...all.keys()].sort()) {
      const entry = all.get(name);
      if (entry.folder) write(name, FOLDER | (entry.mode ?? 0o755), Buffer.alloc(0));
      else if (entry.link !== undefined) write(name, LINK | 0o777, Buffer.from(entry.link));
      else write(name, FILE | (entry.mode ?? 0o755), entry.from ? readFileSync(entry.from) : Buffer.from(entry.text));
    }
    write('TRAILER!!!', 0, Buffer.alloc(0));
  } finally {
    closeSync(out);
  }
}
