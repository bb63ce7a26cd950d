import type { DatabaseDescription } from '../backup/manifest.ts';

/** What a restore needs of the server, asked for in one go. */
export interface RestoreNeeds {
  readonly extensions: readonly string[];
  /** Names of parameters that ALTER DATABASE … SET would set. */
  readonly settings: readonly string[];
  readonly collations: readonly { readonly name: string; readonly version: string }[];
  /** The database's own collation. */
  readonly locale: { readonly provider: string; readonly name: string; readonly version: string } | undefined;
}

export interface ServerFacts {
  readonly version: string;
  /** As in `server_version_num`. */
  readonly versionNumber: number;
  readonly user: string;
  readonly superuser: boolean;
  readonly mayCreateDatabases: boolean;
  readonly standby: boolean;
  readonly databases: readonly string[];
  readonly roles: readonly string[];
  /** Roles to whom `user` may hand objects, and do with them as with its own afterwards. */
  readonly memberOf: readonly string[];
  readonly tablespaces: readonly string[];
  readonly extensions: readonly AvailableExtension[];
  /** Of the needed settings, those that this server has no parameter for. */
  readonly unknownSettings: readonly string[];
  readonly changedCollations: readonly {
    readonly name: string;
    readonly recorded: string;
    readonly here: string;
  }[];
}

export interface AvailableExtension {
  readonly name: string;
  readonly version: string;
  /** Whether this role may create it. */
  readonly permitted: boolean;
}

/** The target as it stands before the restore. */
export interface TargetFacts {
  readonly owner: string;
  /** What a dump that says nothing of the database itself leaves as it is. */
  readonly database: DatabaseDescription;
  /** `undefined` when the database holds nothing of a user's. */
  readonly contents: string | undefined;
  /** Made on its schema public, beyond those of every new database; told of a database without contents only. */
  readonly publicGrants: readonly SchemaGrant[];
  readonly mayRename: boolean;
  readonly sessions: number;
  readonly preparedTransactions: readonly string[];
  /** Logical replication slots of the database; active ones have a reader. */
  readonly slots: readonly { readonly name: string; readonly active: boolean }[];
  readonly subscriptions: readonly string[];
}

export interface SchemaGrant {
  /** `null`: PUBLIC. */
  readonly grantee: string | null;
  readonly privilege: 'USAGE' | 'CREATE';
  readonly grantable: boolean;
}

export interface ClientTool {
  readonly path: string;
  readonly version: string;
  readonly versionNumber: number;
}

export interface RestoreTools {
  readonly psql: ClientTool;
  /** Looked for only where the dump's format needs it. */
  readonly pgRestore: ClientTool | undefined;
}

export interface DiskNeed {
  readonly folder: string;
  /** Bytes that the restore writes there for a while. */
  readonly needed: number;
  readonly free: number;
}
