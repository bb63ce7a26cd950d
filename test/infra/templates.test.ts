import { normalise } from './normalise.ts';
import { synthesizeStorage, templateOf } from './synthesize.ts';

describe('The templates', () => {
  const { assembly, storage, replica } = synthesizeStorage({ storage: { drRegion: 'eu-central-1' } });

  it('of the storage stack change only on purpose', () => {
    expect(normalise(templateOf(assembly, storage))).toMatchSnapshot();
  });

  it('of the second region change only on purpose', () => {
    expect(normalise(templateOf(assembly, replica ?? storage))).toMatchSnapshot();
  });
});
