import { slotNameOf } from '../../../lib/domain/wal/slot-name.ts';

describe('The slot of an app', () => {
  it('is named after it', () => {
    expect(slotNameOf('hostmaster')).toBe('lifeboat_hostmaster');
  });

  it('has a name that PostgreSQL takes, whatever the app is called, and never that of another app', () => {
    const apps = ['shop_1', 'shop-1', 'shop.1', 'Shop_1', 'SHOP_1', 'a'.repeat(63), `${'a'.repeat(62)}b`];
    const names = apps.map(slotNameOf);
    for (const name of names) expect(name).toMatch(/^lifeboat_[a-z0-9_]{1,54}$/);
    expect(new Set(names).size).toBe(apps.length);
  });
});
