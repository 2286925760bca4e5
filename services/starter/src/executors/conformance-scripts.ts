/** The scripts of `executor-conformance.ts`, in each language: the same deed, told in the same words. */
import type { Language } from '../script-file.js';

export interface ConformanceScripts {
  empty: string;
  /** Prints the context's `row.Name` and, in quotes, what is left of standard input then. */
  readContext: string;
  /** Prints in quotes what two reads of standard input give. */
  readNothing: string;
  /** Prints its environment as JSON. */
  showEnvironment: string;
  showLoaderVariable: string;
  /** Prints as JSON how it was called, its working folder and the files in there. */
  showPlace: (file: string) => string;
  makeFile: string;
  /** Prints on both streams. */
  bothStreams: string;
  /** Says "up" without a line end and ends by itself once the test puts `go` into its folder. */
  untilTold: string;
  /** Says "partial", never ends, and lets `beat` grow as long as it lives. */
  beating: string;
  /** Says "spinning" and never yields. */
  spinning: string;
  exitWith3: string;
  uncaught: string;
  /** What a traceback of `uncaught` looks like. */
  uncaughtTold: RegExp;
  syntaxError: string;
  syntaxErrorTold: RegExp;
  /** Says "start" and takes memory until there is none. */
  memoryHog: string;
  bytes: string;
  dieBy: (signal: string) => string;
  /** Creates `ran`. */
  touchRan: string;
}

const python: ConformanceScripts = {
  empty: '',
  readContext: `import sys, json; print(json.load(sys.stdin)['row']['Name'], repr(sys.stdin.read()))`,
  readNothing: `import sys; print(repr(sys.stdin.read()), repr(sys.stdin.readline()))`,
  showEnvironment: `import os, json; print(json.dumps(dict(os.environ)))`,
  showLoaderVariable: `import os; print(os.environ['LD_PRELOAD'])`,
  showPlace: () =>
    `import os, sys, json; print(json.dumps([__name__ == '__main__', sys.argv == ['index.py'], os.getcwd(), sorted(os.listdir('.'))]))`,
  makeFile: `import os\nos.mkdir('out')\nopen('out/a.txt', 'w').write('made')`,
  bothStreams: `import sys; print('to out'); print('to err', file=sys.stderr)`,
  untilTold: `import os, time\nprint('up', end='')\nwhile not os.path.exists('go'): time.sleep(0.01)\n`,
  beating: `import time\nprint('partial', end='')\nwhile True:\n    with open('beat', 'a') as f: f.write('.')\n    time.sleep(0.02)\n`,
  spinning: `print('spinning')\nwhile True: pass`,
  exitWith3: `import sys; print('before'); sys.exit(3)`,
  uncaught: `def f():\n    raise ValueError('boom')\nf()`,
  uncaughtTold: /^Traceback[^]*index\.py", line 3[^]*ValueError: boom\n$/,
  syntaxError: `print('never'\n`,
  syntaxErrorTold: /index\.py", line 1[^]*SyntaxError/,
  memoryHog: `print('start')\nhog = []\nwhile True: hog.append(bytearray(8_000_000))`,
  bytes: `import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)`,
  dieBy: (signal) => `import os, signal; os.kill(os.getpid(), signal.${signal})`,
  touchRan: `open('ran', 'w').close()`,
};

const node: ConformanceScripts = {
  empty: '',
  readContext: `import { readFileSync } from 'node:fs';\nconst text = readFileSync(0, 'utf8');\nconsole.log(JSON.parse(text).row.Name, "'" + readFileSync(0, 'utf8') + "'");`,
  readNothing: `import { readFileSync } from 'node:fs';\nconsole.log(...[1, 2].map(() => "'" + readFileSync(0, 'utf8') + "'"));`,
  showEnvironment: `console.log(JSON.stringify(process.env));`,
  showLoaderVariable: `console.log(process.env.LD_PRELOAD);`,
  showPlace: (file) =>
    `import { readdirSync } from 'node:fs';\nconsole.log(JSON.stringify([process.argv.length === 2, process.argv[1] === process.cwd() + '/${file}', process.cwd(), readdirSync('.').sort()]));`,
  makeFile: `import fs from 'node:fs';\nfs.mkdirSync('out');\nfs.writeFileSync('out/a.txt', 'made');`,
  bothStreams: `console.log('to out'); console.error('to err');`,
  untilTold: `import fs from 'node:fs';\nprocess.stdout.write('up');\nconst look = setInterval(() => fs.existsSync('go') && clearInterval(look), 10);`,
  beating: `import fs from 'node:fs';\nprocess.stdout.write('partial');\nsetInterval(() => fs.appendFileSync('beat', '.'), 20);`,
  spinning: `console.log('spinning');\nfor (;;);`,
  exitWith3: `console.log('before');\nprocess.exit(3);`,
  uncaught: `function f() {\n  throw new RangeError('boom');\n}\nf();`,
  uncaughtTold: /index\.mjs:2\n[^]*RangeError: boom\n[^]*index\.mjs:4:1/,
  syntaxError: `console.log('never';\n`,
  syntaxErrorTold: /index\.mjs:1\n[^]*SyntaxError/,
  memoryHog: `console.log('start');\nconst hog = [];\nfor (;;) hog.push(Buffer.alloc(8_000_000, 1));`,
  bytes: `process.stdout.write(Buffer.from(Array.from({ length: 768 }, (_, i) => i % 256)));`,
  dieBy: (signal) => `process.kill(process.pid, '${signal}');\nsetInterval(() => {}, 1000);`,
  touchRan: `import fs from 'node:fs';\nfs.writeFileSync('ran', '');`,
};

export const conformanceScripts = { python, node } satisfies Record<Language, ConformanceScripts>;
