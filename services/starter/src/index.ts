/** What a composition root other than this package's own `main` needs of a starter. */
export * from './app.js';
export * from './config.js';
export * from './create-executor.js';
export { readStarterId } from './exchange/exchange.js';
export * from './executors/executor.js';
export * from './profiles.js';
export * from './script-file.js';
export * from './version.js';
