/** What a backup makes: a dump of the database, a base backup of its whole cluster, or one after the other. */
export const BACKUP_KINDS = ['dump', 'base', 'both'] as const;

export type BackupKind = (typeof BACKUP_KINDS)[number];
