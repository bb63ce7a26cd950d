import packageJson from '../../package.json' with { type: 'json' };

export const LIFEBOAT_VERSION: string = packageJson.version;
