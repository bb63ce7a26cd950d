import { startLocalS3Fixture } from './local-s3-store.ts';
import { describeObjectStore } from './object-store.contract.ts';

const CAPABILITIES = {
  keepsMetadata: true,
  reportsChecksums: true,
  reportsEncryption: true,
  keepsTags: true,
  completesConditionally: true,
} as const;

for (const [name, versioned, prefix] of [
  ['S3 by the local AWS', false, 'data base/ü'],
  ['S3 by the local AWS, versioned and without a prefix,', true, ''],
] as const) {
  describeObjectStore(
    name,
    async () => {
      const fixture = await startLocalS3Fixture({ versioned });
      return { store: fixture.open({ settings: { prefix } }), close: () => fixture.close() };
    },
    CAPABILITIES,
  );
}
