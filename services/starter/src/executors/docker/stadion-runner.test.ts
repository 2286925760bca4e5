/** Runs the runners' own tests, which lie beside them, with the machine's python3 and this Node. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const folder = join(__dirname, '../../../../runner');

test('the Python runner passes its own tests', async () => {
  const said = await new Promise<string>((resolve) => {
    execFile(
      'python3',
      ['-B', '-m', 'unittest', '-v', 'test_stadion_runner'],
      { cwd: join(folder, 'python') },
      (error, _, stderr) =>
        resolve(error && error.code === 'ENOENT' ? 'These tests need python3 on the PATH.' : stderr),
    );
  });
  expect(said).toMatch(/^Ran [1-9]\d* tests in [^]*\nOK\n$/m);
}, 60_000);

test('the Node runner passes its own tests', async () => {
  const said = await new Promise<string>((resolve) => {
    const args = ['--test', '--test-reporter=tap', 'stadion_runner.test.mjs'];
    execFile(process.execPath, args, { cwd: join(folder, 'node') }, (_, stdout) => resolve(stdout));
  });
  expect(said).toMatch(/^# pass [1-9]\d*\n# fail 0\n/m);
}, 60_000);
