export * from './host-api.js';
export * from './json.js';
export * from './original-api.js';
export * from './starter-api.js';
export * from './task.js';
