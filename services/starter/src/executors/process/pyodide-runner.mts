/**
 * Runs `index.py` of the working folder with Pyodide, in a process of its own: `node pyodide-runner.mjs PACKAGE_DIR
 * SNAPSHOT`, with a `Launch` on descriptor 3 as `launcher.ts` says. `--make-snapshot` writes SNAPSHOT and ends.
 * Python can reach Node from in here (`import js`), so nothing in this file is a boundary: the process around it is.
 */
import { existsSync, readFileSync, readSync, renameSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { PyodideAPI, PyodideConfig } from 'pyodide';
import type { Launch, Launched } from './launcher.js';
import { limitsInForce } from './limits-in-force.mjs';

const [packageDir = '', snapshot = '-', mode] = process.argv.slice(2);
const { loadPyodide } = (await import(pathToFileURL(`${packageDir}/pyodide.mjs`).href)) as {
  loadPyodide(options?: PyodideConfig): Promise<PyodideAPI>;
};

if (mode === '--make-snapshot') {
  const pyodide = await loadPyodide({ _makeSnapshot: true });
  // Renamed into place, so that a sandbox never reads half of one.
  writeFileSync(`${snapshot}.${process.pid}`, pyodide.makeMemorySnapshot());
  renameSync(`${snapshot}.${process.pid}`, snapshot);
  process.exit(0);
}

const launch = JSON.parse(readLaunch()) as Launch;
const pyodide = await load();
for (const [name, fd] of [
  ['setStdout', 1],
  ['setStderr', 2],
] as const) {
  pyodide[name]({ write: (bytes: Uint8Array) => writeAll(fd, bytes) });
}
pyodide.setStdin({ read: (buffer: Uint8Array) => readSync(0, buffer) });
pyodide.FS.mkdirTree('/scripts');
pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: '.' }, '/scripts');
pyodide.FS.chdir('/scripts');
pyodide.globals.set('_launch_env', pyodide.toPy(launch.env));

// Leaves Python with the same words and codes as `python3 -u index.py`.
const program = `
def _run():
    import io, os, sys, traceback
    os.environ.clear(); os.environ.update(globals().pop('_launch_env'))
    os.chdir('/scripts')
    sys.argv = ['index.py']
    sys.path.insert(0, '/scripts')
    sys.stdin = open(0, encoding='utf-8', closefd=False)
    for name, fd in (('stdout', 1), ('stderr', 2)):
        raw = open(fd, 'wb', buffering=0, closefd=False)
        errors = 'strict' if fd == 1 else 'backslashreplace'
        setattr(sys, name, io.TextIOWrapper(raw, encoding='utf-8', errors=errors, write_through=True))
    main = type(sys)('__main__')
    main.__file__ = '/scripts/index.py'; main.__builtins__ = __builtins__
    sys.modules['__main__'] = main
    try:
        with open('index.py', 'rb') as file: source = file.read()
        exec(compile(source, '/scripts/index.py', 'exec'), main.__dict__)
        return 0
    except SystemExit as leaving:
        if leaving.code is None: return 0
        if isinstance(leaving.code, int): return leaving.code & 255
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException as error:
        outermost = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, outermost)
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try: stream.flush()
            except Exception: pass
_run()
`;

const launched: Launched = { limits: limitsInForce(launch.limits) };
writeSync(3, JSON.stringify(launched) + '\n');
closeSync(3);
let code = 1;
try {
  code = Number(pyodide.runPython(program));
} catch (error) {
  // Not Python's: WebAssembly ran out of stack or memory.
  writeSync(2, `${String(error)}\n`);
}
process.exit(code);

function readLaunch(): string {
  const text = readFileSync(3, 'utf8');
  if (text === '') process.exit(125); // the starter is gone
  return text;
}

async function load(): Promise<PyodideAPI> {
  if (snapshot !== '-' && existsSync(snapshot)) {
    try {
      return await loadPyodide({ _loadSnapshot: readFileSync(snapshot) });
    } catch {
      // Made by another version: start the slow way.
    }
  }
  return loadPyodide({});
}

function writeAll(fd: number, bytes: Uint8Array): number {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
  return written;
}
