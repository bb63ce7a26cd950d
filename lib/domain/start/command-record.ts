import { z } from 'zod';

/** `command.json`: what became of sending a run's command, written once by the Lambda that sent it. */
const commandRecordSchema = z.object({
  /** SSM's; `null` when it refused the command for good, as for a host that is stopped or not managed. */
  commandId: z.string().nullable(),
  sentAt: z.iso.datetime(),
  refused: z.object({ name: z.string(), message: z.string() }).optional(),
});

export type CommandRecord = z.infer<typeof commandRecordSchema>;

/** `undefined` for what is no such record. */
export function parseCommandRecord(json: string): CommandRecord | undefined {
  try {
    return commandRecordSchema.parse(JSON.parse(json));
  } catch {
    return undefined;
  }
}
