import { LifeboatError } from '../errors.ts';
import type { BackupFacts } from './backup-facts.ts';
import type { ServerFacts, TargetFacts } from './preflight-facts.ts';
import { nameList, refuse } from './preflight-refusal.ts';

/** What the target's present state says against, or about, taking its place. */
export interface TargetCheck {
  readonly target: string;
  /** `undefined` when it does not exist. */
  readonly targetFacts: TargetFacts | undefined;
  readonly server: Pick<ServerFacts, 'user'>;
  readonly replace: boolean;
}

/** What stands against taking the target's place. */
export function targetProblems({ target, targetFacts, server, replace }: TargetCheck): LifeboatError[] {
  if (!targetFacts) return [];
  const name = JSON.stringify(target);
  const problems: LifeboatError[] = [];
  if (targetFacts.contents !== undefined && !replace) {
    problems.push(
      new LifeboatError('TARGET_NOT_EMPTY', `The database ${name} holds data: ${targetFacts.contents}`),
    );
  }
  if (!targetFacts.mayRename) {
    const message = `${JSON.stringify(server.user)} may not rename ${name}, which belongs to ${JSON.stringify(targetFacts.owner)}`;
    problems.push(new LifeboatError('DB_RIGHTS', message));
  }
  if (targetFacts.preparedTransactions.length > 0) {
    const message = `${name} has prepared transactions, which nothing but their own COMMIT or ROLLBACK can end: ${nameList(targetFacts.preparedTransactions)}`;
    problems.push(
      refuse(message, "End each: COMMIT PREPARED '…' or ROLLBACK PREPARED '…', then run the restore again."),
    );
  }
  const active = targetFacts.slots.filter((slot) => slot.active).map((slot) => slot.name);
  if (active.length > 0) {
    const message = `${name} is being replicated from, by the logical slots ${nameList(active)}: their readers would silently stay with the old database`;
    problems.push(refuse(message, 'Stop the subscribers, drop the slots, then run the restore again.'));
  }
  if (targetFacts.subscriptions.length > 0) {
    const message = `${name} has subscriptions, which would go on writing into the old database: ${nameList(targetFacts.subscriptions)}`;
    problems.push(
      refuse(message, 'Disable and drop them (DROP SUBSCRIPTION …), then run the restore again.'),
    );
  }
  return problems;
}

/** What becomes of the database's own properties when the backup knows none. */
export function propertiesWarnings(
  target: string,
  targetFacts: TargetFacts | undefined,
  backup: Pick<BackupFacts, 'database'>,
): string[] {
  if (backup.database) return [];
  return [
    targetFacts
      ? `Without a manifest nothing is known of the old database itself: ${target} keeps the owner, grants, settings, connection limit, comment, encoding and locale that it has.`
      : 'Without a manifest the database’s encoding, locale, owner, grants, settings and comment are not brought back: the server’s defaults are used.',
  ];
}

/** What the target's old database goes on to hold once another has its name. */
export function targetWarnings({ target, targetFacts }: TargetCheck): string[] {
  const idle = (targetFacts?.slots ?? []).filter((slot) => !slot.active).map((slot) => slot.name);
  if (idle.length === 0) return [];
  return [
    `The logical slots ${nameList(idle)} stay with the old ${target} and keep its WAL: drop them when they are not needed.`,
  ];
}
