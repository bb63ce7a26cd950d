/** A relation's file, as the name of a backup's member or of a file in the data directory gives it. */
export interface RelationFile {
  /** Number of its first page within the relation. */
  readonly firstBlock: number;
}

/** Pages in one file of a relation; its further files have the suffixes .1, .2 … */
export const PAGES_PER_FILE = 131_072;

const MAIN_FILE = String.raw`\d+(?:_(?:fsm|vm|init))?(?:\.(\d+))?`;
const RELATION_FILES = [
  new RegExp(`^global/${MAIN_FILE}$`),
  new RegExp(`^base/\\d+/${MAIN_FILE}$`),
  new RegExp(`^(?:pg_tblspc/\\d+/)?PG_\\d+_\\d+/\\d+/${MAIN_FILE}$`),
];

/**
 * Whether pages with checksums are in the file. Others look like it but have none: pg_xact/0000 and the like, and
 * temporary relations (`t3_16384`), which no backup holds.
 * @param name relative to the data directory, or to a tablespace's folder
 */
export function relationFileOf(name: string): RelationFile | undefined {
  for (const pattern of RELATION_FILES) {
    const found = pattern.exec(name);
    if (found) return { firstBlock: Number(found[1] ?? 0) * PAGES_PER_FILE };
  }
  return undefined;
}
