import { CommandLineError, readCommandLine } from './command-line.js';
import { readEmbeddedSettings } from './config.js';

const settingsOf = (args: string[], environment: Record<string, string> = {}) =>
  readEmbeddedSettings(readCommandLine(args, environment).environment);

describe('the command line', () => {
  it('takes flags, and a script', () => {
    const commandLine = readCommandLine(['--once', 'some/script.py', '--port', '0'], {});
    expect(commandLine).toMatchObject({ once: true, scriptPath: 'some/script.py', help: false });
  });

  it('wins over the environment, whichever name the setting has there', () => {
    expect(settingsOf(['--port', '7'], { PORT: '8' }).port).toBe(7);
    expect(settingsOf(['--data-dir', 'here'], { STADION_DATA_DIR: 'there' }).dataDir).toBe('here');
  });

  it('leaves the rest to the environment', () => {
    const settings = settingsOf([], { PORT: '8', STADION_SLOTS: '3', SEATABLE_SERVER_URL: 'http://host' });
    expect(settings).toMatchObject({ port: 8, slots: 3, hostUrl: 'http://host', executor: 'auto' });
  });

  it.each([[['--wat']], [['a.py', 'b.py']]])('does not guess what %j means', (args) => {
    expect(() => readCommandLine(args, {})).toThrow(CommandLineError);
  });
});

describe('embedded settings', () => {
  it('refuse what contradicts itself in either service, all at once', () => {
    expect(() => settingsOf([], { STADION_STARTER_LOST: '20', STADION_TMP_SIZE: '2g' })).toThrow(
      /STADION_STARTER_LOST[^]*STADION_TMP_SIZE/,
    );
  });

  it('refuse a weak secret', () => {
    expect(() => settingsOf([], { STADION_AUTH_TOKEN: 'short' })).toThrow(
      /STADION_AUTH_TOKEN is 5 characters long/,
    );
  });
});
