// Lets jest run sources that import './x.js' and mean './x.ts', as TypeScript's nodenext wants it written.
'use strict';
const { existsSync } = require('node:fs');
const { resolve } = require('node:path');

/** @type {import('jest-resolve').SyncResolver} */
module.exports = (request, options) => {
  const oursAndRelative = /^\.{1,2}\/.*\.js$/.test(request) && !options.basedir.includes('node_modules');
  if (oursAndRelative) {
    const source = resolve(options.basedir, request.replace(/\.js$/, '.ts'));
    if (existsSync(source)) return source;
  }
  return options.defaultResolver(request, options);
};
