import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { openS3Store } from '../../scripts/agent/s3/s3-store.ts';
import { isRadosGatewayInstalled, startRadosGateway } from '../../scripts/set-up/radosgw.ts';
import { describeObjectStore, type OpenedStore } from './object-store.contract.ts';

/**
 * A real S3 server that others wrote. Of what S3 does, radosgw 16 lacks: If-None-Match on completing a multipart upload,
 * checksums in answers, the encryption in answers. Those cases run on the local S3 alone.
 */
const CAPABILITIES = {
  keepsMetadata: true,
  reportsChecksums: false,
  reportsEncryption: false,
  keepsTags: true,
  completesConditionally: false,
} as const;

async function open(): Promise<OpenedStore> {
  const gateway = await startRadosGateway();
  const { endpoint, region, credentials } = gateway;
  const admin = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  await admin.send(new CreateBucketCommand({ Bucket: 'backups' }));
  admin.destroy();
  const store = openS3Store(
    { bucket: 'backups', prefix: 'data base/ü', stateBucket: 'backups', kmsKeyId: undefined },
    {
      environment: {
        AWS_ENDPOINT_URL_S3: endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
    },
  );
  return {
    store,
    close: async () => {
      store.close();
      await gateway.close();
    },
  };
}

if (isRadosGatewayInstalled()) {
  describeObjectStore('S3 by radosgw', open, CAPABILITIES);
} else {
  describe('S3 by radosgw: not run, because radosgw is not installed', () => {
    it('is not wanted outside CI', () => {
      if (process.env['CI']) {
        throw new Error(
          'CI runs the contract suite on radosgw: apt-get install radosgw ceph-mon ceph-osd ceph-common',
        );
      }
    });
  });
}
