import { z } from 'zod';

/** Numbers among the settings; what is wrong with one is said in words that name the whole of what may be given. */

export function wholeNumber(from: number, to: number): z.ZodCoercedNumber {
  const error = `must be a whole number from ${from} to ${to}`;
  return z.coerce.number({ error }).int({ error }).min(from, { error }).max(to, { error });
}

export function numberBetween(from: number, to: number): z.ZodCoercedNumber {
  const error = `must be a number from ${from} to ${to}`;
  return z.coerce.number({ error }).min(from, { error }).max(to, { error });
}

export function numberAboveZero(): z.ZodCoercedNumber {
  const error = 'must be a number above 0';
  return z.coerce.number({ error }).positive({ error });
}
