import { z } from 'zod';

/**
 * Policy documents as they stand in templates, once their intrinsic functions are resolved. An element that is not known
 * here is refused: to leave it aside would allow or deny what AWS does not.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
 */

const texts = z
  .union([z.string(), z.array(z.string())])
  .transform((value) => (typeof value === 'string' ? [value] : value));

/** `"*"` is everybody, whatever kind of principal. */
const principals = z
  .union([z.literal('*'), z.partialRecord(z.enum(['AWS', 'Service', 'Federated', 'CanonicalUser']), texts)])
  .transform((value) => (value === '*' ? 'everybody' : value));

const conditionValues = z
  .union([z.string(), z.boolean(), z.number(), z.array(z.union([z.string(), z.boolean(), z.number()]))])
  .transform((value) => (Array.isArray(value) ? value : [value]).map(String));

const statementSchema = z
  .strictObject({
    Sid: z.string().optional(),
    Effect: z.enum(['Allow', 'Deny']),
    Principal: principals.optional(),
    NotPrincipal: principals.optional(),
    Action: texts.optional(),
    NotAction: texts.optional(),
    Resource: texts.optional(),
    NotResource: texts.optional(),
    Condition: z.record(z.string(), z.record(z.string(), conditionValues)).default({}),
  })
  .refine(({ Action, NotAction }) => (Action === undefined) !== (NotAction === undefined), {
    message: 'needs one of Action and NotAction',
  });

const documentSchema = z.strictObject({
  Version: z.literal('2012-10-17'),
  Id: z.string().optional(),
  Statement: z
    .union([statementSchema, z.array(statementSchema)])
    .transform((value) => (Array.isArray(value) ? value : [value])),
});

export type Statement = z.infer<typeof statementSchema>;
export type Principals = NonNullable<Statement['Principal']>;

/** A document and where it stands, for the answer to "who said so?". */
export interface Policy {
  readonly name: string;
  readonly statements: readonly Statement[];
}

/** @throws Error naming the policy and what is wrong with it */
export function parsePolicy(name: string, document: unknown): Policy {
  const parsed = documentSchema.safeParse(document);
  if (parsed.success) return { name, statements: parsed.data.Statement };
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new Error(`The policy ${name} cannot be understood: ${problems.join('; ')}`);
}
