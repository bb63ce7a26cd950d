import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';
import { PAGE_CHECK_PROGRAM } from './page-check-program.ts';
import { PAGE_SIZE, unsoundPages } from './page-checksum.ts';

/** Buffers whose pages are checked where they lie, without a copy. */
export interface PageMemory {
  /**
   * Of the size that was asked for, each beginning at a page. Files are read right into them. Their memory is one and cannot be given
   * back by `releaseMemory`: it goes with all of them.
   */
  readonly buffers: readonly Buffer[];
  /**
   * Pages in `bytes` whose checksum is wrong. As the server does (basebackup.c): pages that were never used (pd_upper 0) pass, and
   * so do those whose LSN is at or after `start`, which will be replayed from the WAL.
   * @param bytes a part of one of the buffers, from one of its pages on; what is left behind its last whole page is not looked at
   * @param firstBlock number of the first page within the relation
   * @returns numbers within the relation, in order
   */
  unsoundPages(bytes: Buffer, firstBlock: number, start: Lsn): number[];
}

/** Of WebAssembly's memory. */
const MEMORY_PAGE = 65_536;

/** `count` buffers of `size` bytes each, which is a multiple of 8192. */
export function openPageMemory(count: number, size: number): PageMemory {
  return openVectorMemory(count, size) ?? openPlainMemory(count, size);
}

/** Checked in WebAssembly, four words to an instruction; `undefined` where the processor has none for that. */
export function openVectorMemory(count: number, size: number): PageMemory | undefined {
  const program = compile();
  if (!program) return undefined;
  const memoryPages = Math.ceil((count * size) / MEMORY_PAGE);
  const memory = new WebAssembly.Memory({ initial: memoryPages, maximum: memoryPages });
  const { exports } = new WebAssembly.Instance(program, { pages: { memory } });
  const { firstUnsound } = exports as PageCheck;
  return {
    buffers: Array.from({ length: count }, (_, index) => Buffer.from(memory.buffer, index * size, size)),
    unsoundPages: (bytes, firstBlock, start) => {
      if (bytes.buffer !== memory.buffer)
        throw new LifeboatError('BUG', 'Pages were to be checked that lie elsewhere');
      const begin = bytes.byteOffset;
      const end = begin + bytes.length - (bytes.length % PAGE_SIZE);
      const found: number[] = [];
      for (let page = begin; page < end; page += PAGE_SIZE) {
        page = firstUnsound(page, end, firstBlock + (page - begin) / PAGE_SIZE, start);
        if (page < end) found.push(firstBlock + (page - begin) / PAGE_SIZE);
      }
      return found;
    },
  };
}

/** The same by JavaScript. */
export function openPlainMemory(count: number, size: number): PageMemory {
  return { buffers: Array.from({ length: count }, () => Buffer.allocUnsafeSlow(size)), unsoundPages };
}

interface PageCheck {
  /** See page-check.wat. */
  readonly firstUnsound: (page: number, end: number, block: number, start: bigint) => number;
}

/** What is used of it: neither the ECMAScript library's types nor Node's have it. */
declare const WebAssembly: {
  /** Whether it can be run here. */
  validate(bytes: Buffer): boolean;
  readonly Module: new (bytes: Buffer) => object;
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

let program: object | undefined;

function compile(): object | undefined {
  const bytes = Buffer.from(PAGE_CHECK_PROGRAM, 'base64');
  if (!program && WebAssembly.validate(bytes)) program = new WebAssembly.Module(bytes);
  return program;
}
