// `npm run test:env`: brings up what the tests need, prints how to reach it, and keeps it until Ctrl-C. For
// working on one test again and again without the start-up each time.
import { once } from 'node:events';
import { makeRunFolder } from './lib/run-folder.mjs';
import { runSession } from './lib/session.mjs';
import { bringUpEnvironment } from './lib/test-environment.mjs';
import { ensureBuilt, ensureInstalled } from './lib/workspace.mjs';

await runSession(async (session) => {
  // The lines to copy or `source` go to standard output alone.
  session.log = (line) => console.error(line);
  await ensureInstalled(session);
  await ensureBuilt(session);
  const { place, env } = await bringUpEnvironment(session, await makeRunFolder(session), {
    compose: true,
  });

  for (const [name, value] of Object.entries(env)) console.log(`export ${name}='${value}'`);
  if (place.enter) {
    console.error(
      'The engine and MariaDB are in a network of their own. Put `in_test_env` before your commands:',
    );
    console.log(`in_test_env() { ${place.enter} "$@"; }`);
  }
  const example = `${place.enter ? 'in_test_env ' : ''}npx jest PATTERN --selectProjects integration`;
  console.error(`For example: ${example}\nReady. Ctrl-C ends it all.`);

  const keepAlive = setInterval(() => {}, 60_000);
  await once(session.signal, 'abort');
  clearInterval(keepAlive);
  return 0;
});
