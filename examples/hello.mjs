// The first script in JavaScript: says hello, and shows what a script is given.
import { text } from 'node:stream/consumers';

const context = JSON.parse((await text(process.stdin)) || 'null');

console.log(`Hello, ${context?.name ?? 'world'}!`);
console.log(`I am Node ${process.versions.node}, working in ${process.cwd()}.`);
console.log(`My host application is ${process.env.dtable_web_url}.`);
console.log(`My context is ${JSON.stringify(context)}.`);
