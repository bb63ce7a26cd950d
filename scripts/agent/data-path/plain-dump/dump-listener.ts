/** What a dump is found to hold, in its order. Offsets count bytes from the start of the dump. */
export interface DumpListener {
  /** A `--` comment outside of any string, without its newline; cut after 1 KiB. */
  comment?(text: string, offset: number): void;
  /** A psql command line such as `\restrict …`. */
  metaCommand?(line: string, offset: number): void;
  /** Text that follows is in this encoding, by PostgreSQL's name of it. */
  encoding?(name: string): void;
  /** `COPY … FROM stdin`, without the semicolon; data follows. @param bytes the same, as the dump has it */
  copyStart?(statement: string, offset: number, bytes: Buffer): void;
  /** @param offset of the first row, or of the terminator */
  copyRows?(offset: number): void;
  /**
   * @param rows lines of data, the terminator not among them; one line is one row, newlines in values are escaped
   * @param place where the terminator's line begins, and where the next line does
   */
  copyEnd?(rows: number, place: { readonly from: number; readonly to: number }): void;
}
