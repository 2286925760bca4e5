export * from './databases.js';
export * from './eventually.js';
export * from './fake-host-app.js';
export * from './fake-original-scheduler.js';
export * from './fake-original-starter.js';
export * from './fake-scheduler.js';
export * from './loopback-server.js';
