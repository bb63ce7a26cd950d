import { makePrincipal, type Principal } from '../access/principal.ts';
import type { Account, DeployedResource } from '../cloudformation/deployed-stacks.ts';

export interface Principals {
  /** The person at the keyboard. */
  readonly operator: Principal;
  readonly roles: readonly Principal[];
  readonly host: Principal;
  /** @throws Error for a role that no template makes */
  readonly ofRole: (arn: string) => Principal;
}

/**
 * Access keys for every role of the templates. The hosts’ role is the one with an instance profile; where the deployment
 * attaches its policy to a role that is there already, it is that one.
 */
export function makePrincipals(resources: readonly DeployedResource[], { accountId }: Account): Principals {
  const roles = resources
    .filter(({ type }) => type === 'AWS::IAM::Role')
    .map(({ stackName, logicalId, arn }) => makePrincipal(`${stackName}/${logicalId}`, arn));
  const foreign = foreignRoleNames(resources).map((name) =>
    makePrincipal(name, `arn:aws:iam::${accountId}:role/${name}`),
  );
  const profile = resources.find(({ type }) => type === 'AWS::IAM::InstanceProfile');
  const [profileRole] = (profile?.properties['Roles'] ?? []) as string[];
  const host = roles.find(({ arn }) => arn.endsWith(`/${profileRole}`)) ?? foreign[0];
  if (!host) throw new Error('no role of the templates is for the hosts');
  return {
    operator: makePrincipal('operator', `arn:aws:iam::${accountId}:user/operator`),
    roles: [...roles, ...foreign],
    host,
    ofRole: (arn) => {
      const found = roles.find((role) => role.arn === arn);
      if (found) return found;
      throw new Error(`no template makes the role ${arn}`);
    },
  };
}

/** Roles that a managed policy is attached to by name and that no template makes. */
function foreignRoleNames(resources: readonly DeployedResource[]): string[] {
  const own = new Set(resources.filter(({ type }) => type === 'AWS::IAM::Role').map(({ ref }) => ref));
  const named = resources
    .filter(({ type }) => type === 'AWS::IAM::ManagedPolicy')
    .flatMap(({ properties }) => (properties['Roles'] ?? []) as string[]);
  return [...new Set(named)].filter((name) => !own.has(name));
}
