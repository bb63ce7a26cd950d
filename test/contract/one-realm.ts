import { types } from 'node:util';

/**
 * jest gives each test file an `Error` of its own, and Node's sockets throw that of the process. The SDK, which asks
 * `instanceof Error`, then wraps what the network says in an error of no use. Only tests meet this.
 */
const ordinary = Function.prototype[Symbol.hasInstance];

Object.defineProperty(Error, Symbol.hasInstance, {
  // Subclasses inherit it and must go on telling themselves apart.
  value(this: unknown, thrown: unknown): boolean {
    return ordinary.call(this as never, thrown) || (this === Error && types.isNativeError(thrown));
  },
});
