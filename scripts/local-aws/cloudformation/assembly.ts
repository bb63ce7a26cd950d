import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

/** A cloud assembly: what `cdk synth` leaves in cdk.out. */
export interface Assembly {
  /** Each after the ones that it depends on. */
  readonly stacks: readonly AssemblyStack[];
  readonly files: readonly AssetFile[];
}

export interface AssemblyStack {
  readonly name: string;
  readonly template: Template;
  /** `undefined`: the template fits any. */
  readonly accountId: string | undefined;
  readonly region: string | undefined;
}

export interface AssetFile {
  /** A file, or a folder that is packed on its way. */
  readonly source: string;
  readonly packaging: 'file' | 'zip';
  /** With `${AWS::AccountId}` and the like. */
  readonly bucketName: string;
  readonly objectKey: string;
}

const resourceSchema = z.object({
  Type: z.string(),
  Properties: z.record(z.string(), z.unknown()).default({}),
  Condition: z.string().optional(),
});

const templateSchema = z.object({
  Resources: z.record(z.string(), resourceSchema),
  Parameters: z.record(z.string(), z.object({ Default: z.unknown().optional() })).default({}),
  Outputs: z
    .record(z.string(), z.object({ Value: z.unknown(), Export: z.object({ Name: z.unknown() }).optional() }))
    .default({}),
  Conditions: z.record(z.string(), z.unknown()).default({}),
  Mappings: z.record(z.string(), z.record(z.string(), z.record(z.string(), z.unknown()))).default({}),
});

type Template = z.infer<typeof templateSchema>;
export type TemplateResource = z.infer<typeof resourceSchema>;

const manifestSchema = z.object({
  artifacts: z.record(
    z.string(),
    z.object({
      type: z.string(),
      environment: z.string().optional(),
      dependencies: z.array(z.string()).default([]),
      properties: z
        .looseObject({
          templateFile: z.string().optional(),
          stackName: z.string().optional(),
          file: z.string().optional(),
        })
        .default({}),
    }),
  ),
});

type Artifact = z.infer<typeof manifestSchema>['artifacts'][string];

const assetManifestSchema = z.object({
  files: z
    .record(
      z.string(),
      z.object({
        source: z.object({ path: z.string().optional(), packaging: z.enum(['file', 'zip']).optional() }),
        destinations: z.record(z.string(), z.object({ bucketName: z.string(), objectKey: z.string() })),
      }),
    )
    .default({}),
});

const ENVIRONMENT = /^aws:\/\/([^/]+)\/(.+)$/;

/** @param folder `cdk.out` @throws Error for what is no cloud assembly */
export function readAssembly(folder: string): Assembly {
  const read = (file: string): unknown => JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
  const { artifacts } = manifestSchema.parse(read('manifest.json'));
  const stacks = inOrder(artifacts).map(([id, artifact]): AssemblyStack => {
    const [, account, region] = ENVIRONMENT.exec(artifact.environment ?? '') ?? [];
    return {
      name: artifact.properties.stackName ?? id,
      template: templateSchema.parse(read(artifact.properties.templateFile ?? '')),
      accountId: account === 'unknown-account' ? undefined : account,
      region: region === 'unknown-region' ? undefined : region,
    };
  });
  const manifests = Object.values(artifacts).filter(({ type }) => type === 'cdk:asset-manifest');
  const files = manifests.flatMap(({ properties }) => assetFiles(folder, read(properties.file ?? '')));
  return { stacks, files: [...new Map(files.map((file) => [file.objectKey, file])).values()] };
}

function inOrder(artifacts: Readonly<Record<string, Artifact>>): [string, Artifact][] {
  const ordered = new Map<string, Artifact>();
  const add = (id: string): void => {
    const artifact = artifacts[id];
    if (artifact?.type !== 'aws:cloudformation:stack' || ordered.has(id)) return;
    for (const dependency of artifact.dependencies) add(dependency);
    ordered.set(id, artifact);
  };
  for (const id of Object.keys(artifacts)) add(id);
  return [...ordered];
}

/** Templates are assets too; nothing is deployed from them here. */
function assetFiles(folder: string, manifest: unknown): AssetFile[] {
  return Object.values(assetManifestSchema.parse(manifest).files).flatMap(({ source, destinations }) => {
    if (source.path === undefined || source.path.endsWith('.template.json')) return [];
    const resolved = path.resolve(folder, source.path);
    const packaging = source.packaging ?? 'file';
    return Object.values(destinations).map((destination) => ({
      source: resolved,
      packaging,
      ...destination,
    }));
  });
}
