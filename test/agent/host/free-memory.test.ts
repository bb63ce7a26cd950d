import { freeMemory } from '../../../scripts/agent/host/free-memory.ts';

describe('The memory that is free', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('is what the control group leaves, where that is less than the machine has', () => {
    jest.spyOn(process, 'availableMemory').mockReturnValue(1_000_000);
    expect(freeMemory()).toBe(1_000_000);
  });

  it('is the machine’s where no control group limits it', () => {
    jest.spyOn(process, 'availableMemory').mockReturnValue(Number.MAX_SAFE_INTEGER);
    expect(freeMemory()).toBeLessThan(Number.MAX_SAFE_INTEGER);
  });
});
