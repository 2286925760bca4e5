/**
 * `npm start`: starts embedded Stadion, runs a script through its public API as a host application would, and serves
 * until it is stopped. What a newcomer reads is printed; the services' log goes to a file in the data directory.
 */
import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { StadionClient } from '@stadion/client';
import { createLogger, messageOf, SettingsError } from '@stadion/service-kit';
import { languageOf, scriptFileOf } from '@stadion/starter';
import { CommandLineError, readCommandLine, usage } from './command-line.js';
import { readEmbeddedSettings } from './config.js';
import { openDataDir } from './data-dir.js';
import { demonstrate, describeCalls, describeOutcome, exitCodeOf } from './demonstration.js';
import { startEmbedded } from './embedded.js';

const repositoryDir = fileURLToPath(new URL('../../..', import.meta.url));
const stopRequested = new AbortController();
let exitCode = 0;

try {
  exitCode = await run();
} catch (error) {
  const expected = error instanceof SettingsError || error instanceof CommandLineError;
  console.error(expected ? error.message : `Stadion cannot start: ${messageOf(error)}`);
  exitCode = 1;
}
process.exit(exitCode);

async function run(): Promise<number> {
  const commandLine = readCommandLine(process.argv.slice(2), process.env);
  if (commandLine.help) {
    console.log(usage);
    return 0;
  }
  const settings = readEmbeddedSettings(commandLine.environment);
  // npm runs scripts in the repository's folder; paths mean what they mean where the user typed them.
  const typedIn = process.env['INIT_CWD'] ?? process.cwd();
  const scriptPath = await scriptToRun(commandLine.scriptPath, typedIn);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stopRequested.abort(new Error(signal)));
  }

  const dataDir = await openDataDir(resolve(typedIn, settings.dataDir), process.pid);
  const logFile = pino.destination({ dest: dataDir.log, sync: true, mode: 0o600 });
  const embedded = await startEmbedded(settings, {
    dataDir,
    logger: createLogger({ service: 'embedded', level: settings.logLevel }, logFile),
    language: languageOf(scriptFileOf(scriptPath, undefined) ?? 'index.py'),
    examplesDir: join(repositoryDir, 'examples'),
    anyPortWillDo: !commandLine.environment['STADION_PORT'] && !commandLine.environment['PORT'],
    surroundings: {
      searchPath: process.env['PATH'] ?? '',
      temporaryDir: tmpdir(),
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      node: {
        nodePath: process.execPath,
        preload: join(repositoryDir, 'services/starter/dist/executors/process/node-preload.mjs'),
      },
      pyodide: {
        nodePath: process.execPath,
        runner: join(repositoryDir, 'services/starter/dist/executors/process/pyodide-runner.mjs'),
        packageDir: dirname(fileURLToPath(import.meta.resolve('pyodide'))),
      },
    },
  });
  try {
    const { choice } = embedded;
    console.log(`Isolation: ${choice.isolation}`);
    if (choice.better) console.log(`Better isolation: ${choice.better}`);
    for (const warning of choice.warnings) console.log(`Note: ${warning}`);
    console.log(`Data: ${shortest(dataDir.path, typedIn)} (database, secret, log)\n`);

    const name = embedded.exampleHost.add(scriptPath);
    console.log(`Running ${shortest(scriptPath, typedIn)} as a host application would …\n`);
    const client = new StadionClient({ url: embedded.url, token: embedded.authToken });
    const url = `${embedded.exampleHost.url}/scripts/${encodeURIComponent(name)}`;
    const demonstration = await demonstrate(client, { name, url }, stopRequested.signal);
    console.log(describeOutcome(demonstration));
    if (commandLine.once) return exitCodeOf(demonstration.run);

    const secretFile = embedded.secretFile && shortest(embedded.secretFile, typedIn);
    console.log(
      `\nStadion listens on ${embedded.url}. ${describeCalls(embedded.url, secretFile, name, demonstration.run)}`,
    );
    console.log('\nPress Ctrl-C to stop.');
    await new Promise<void>((resolve) => {
      if (stopRequested.signal.aborted) resolve();
      stopRequested.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    return 0;
  } catch (error) {
    if (stopRequested.signal.aborted) return 0;
    throw error;
  } finally {
    if (stopRequested.signal.aborted) console.log('Stopping …');
    await embedded.stop(commandLine.once ? 'ran once' : 'asked to');
  }
}

async function scriptToRun(given: string | undefined, typedIn: string): Promise<string> {
  const path = given === undefined ? join(repositoryDir, 'examples/hello.py') : resolve(typedIn, given);
  await access(path).catch((error: unknown) => {
    throw new CommandLineError(`The script ${path} cannot be read: ${messageOf(error)}.`, { cause: error });
  });
  if (scriptFileOf(path, undefined) === undefined) {
    throw new CommandLineError(
      `The script must be Python (.py) or JavaScript (.mjs, .js or .cjs), which its name must tell; not ${path}.`,
    );
  }
  return path;
}

function shortest(path: string, from: string): string {
  const other = relative(from, path);
  return other.length < path.length ? other : path;
}
