export * from './host-client.js';
