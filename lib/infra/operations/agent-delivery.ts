import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { Construct } from 'constructs';
import type { OperationsAssets } from './built-assets.ts';

/** One architecture's agent, as the documents fetch it. */
export interface DeliveredAgent {
  /** `https://…`: all that aws:downloadContent takes for S3. */
  readonly url: string;
  readonly objectArn: string;
  /** Hex; the download step checks nothing, so the script that installs does. */
  readonly sha256: string;
}

export interface AgentDeliveryProps {
  readonly assets: OperationsAssets;
}

/**
 * The agent's two tarballs in the CDK's asset bucket. Nobody gets rights here: `Asset.grantRead` would hand out the whole
 * bucket, so host-access.ts names the two objects.
 */
export class AgentDelivery extends Construct {
  readonly x64: DeliveredAgent;
  readonly arm64: DeliveredAgent;
  /** The folder's name under /opt/lifeboat, without the architecture's own hash. */
  readonly version: string;

  constructor(scope: Construct, id: string, { assets }: AgentDeliveryProps) {
    super(scope, id);
    this.version = assets.version;
    this.x64 = this.#deliver('X64', assets.agentX64);
    this.arm64 = this.#deliver('Arm64', assets.agentArm64);
  }

  #deliver(id: string, path: string): DeliveredAgent {
    const asset = new Asset(this, id, { path });
    return {
      url: asset.httpUrl,
      objectArn: asset.bucket.arnForObjects(asset.s3ObjectKey),
      sha256: createHash('sha256').update(readFileSync(path)).digest('hex'),
    };
  }
}
