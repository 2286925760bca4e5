/** The command line of `npm start`. A flag means the same as its setting and wins over the environment. */
import { parseArgs } from 'node:util';
import type { Environment, Setting } from '@stadion/service-kit';
import { embeddedTable } from './config.js';

export const usage = `npm start                         start, run examples/hello.py, serve until Ctrl-C
npm start -- path/to/script.py    the same with that script (.py, .mjs, .js or .cjs)
npm start -- --once               end after the script, with its outcome as exit code

  --port N          port to listen on (STADION_PORT, PORT; 5055, or a free one if that is taken)
  --data-dir DIR    where everything is kept (STADION_DATA_DIR; .stadion)
  --executor NAME   auto, docker or process (STADION_EXECUTOR; auto)
  --help            this text

All other settings come from the environment; docs/settings.md lists them.`;

export interface CommandLine {
  help: boolean;
  once: boolean;
  scriptPath: string | undefined;
  /** The environment, with the flags' values in place of the settings they stand for. */
  environment: Environment;
}

/** Throws `CommandLineError` with a sentence for what it does not understand. */
export function readCommandLine(args: readonly string[], environment: Environment): CommandLine {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) {
    throw new CommandLineError(
      `One script can be run at a time; these were given: ${positionals.join(', ')}.`,
    );
  }
  const effective: Record<string, string | undefined> = { ...environment };
  replace(effective, embeddedTable.port, values.port);
  replace(effective, embeddedTable.dataDir, values['data-dir']);
  replace(effective, embeddedTable.executor, values.executor);
  return {
    help: values.help ?? false,
    once: values.once ?? false,
    scriptPath: positionals[0],
    environment: effective,
  };
}

export class CommandLineError extends Error {}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        once: { type: 'boolean' },
        port: { type: 'string' },
        'data-dir': { type: 'string' },
        executor: { type: 'string' },
      },
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandLineError(`${reason}\n\n${usage}`, { cause: error });
  }
}

function replace(
  environment: Record<string, string | undefined>,
  setting: Setting,
  value: string | undefined,
): void {
  if (value === undefined) return;
  for (const name of [setting.name, ...(setting.aliases ?? [])]) delete environment[name];
  environment[setting.name] = value;
}
