// `npm start`: installs and builds what changed, then starts embedded Stadion in this process and runs an example.
import { ensureBuilt, ensureInstalled } from './lib/workspace.mjs';
import { PlainError } from './lib/plain-error.mjs';

const oldestNode = 20;

try {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < oldestNode) {
    throw new PlainError(`Stadion needs Node ${oldestNode} or newer; this is ${process.version}.`);
  }
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new PlainError('Interrupted.'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const log = (line) => console.log(line);
  await ensureInstalled({ log, signal: interrupted.signal });
  await ensureBuilt({ log, signal: interrupted.signal });
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  await import('../services/embedded/dist/main.js');
} catch (error) {
  if (!(error instanceof PlainError)) throw error;
  if (error.evidence) console.error(error.evidence);
  console.error(error.message);
  process.exit(1);
}
