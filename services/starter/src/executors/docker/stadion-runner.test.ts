/** Runs the Python runner's own tests, which lie beside it, with the machine's python3. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const folder = join(__dirname, '../../../../runner/python');

test('the Python runner passes its own tests', async () => {
  const said = await new Promise<string>((resolve) => {
    execFile(
      'python3',
      ['-B', '-m', 'unittest', '-v', 'test_stadion_runner'],
      { cwd: folder },
      (error, _, stderr) =>
        resolve(error && error.code === 'ENOENT' ? 'These tests need python3 on the PATH.' : stderr),
    );
  });
  expect(said).toMatch(/^Ran [1-9]\d* tests in [^]*\nOK\n$/m);
}, 60_000);
