import { z } from 'zod';

/**
 * An EC2 instance. Hosts that an activation registered with SSM (`mi-…`) have no instance profile: the SSM agent puts their
 * credentials into root's home, where the agent, which works as the database's system user, has none
 * (https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-multicloud-ssm-agent-install-linux.html).
 */
export const instanceIdSchema = z.string().regex(/^i-[0-9a-f]{8,17}$/, {
  error: ({ input }) =>
    String(input).startsWith('mi-')
      ? 'is no EC2 instance: run Lifeboat on it by lifeboat install, with credentials of its own'
      : 'is no instance id such as i-0123456789abcdef0',
});
