import { writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { deploymentJsonSchema } from '../lib/domain/deployment/config.ts';

/** Writes what editors check lifeboat.config.json with: `npm run schema`, after a change of lib/domain/deployment. */
const file = 'docs/lifeboat.config.schema.json';
const options = await resolveConfig(file);
writeFileSync(file, await format(JSON.stringify(deploymentJsonSchema()), { ...options, parser: 'json' }));
