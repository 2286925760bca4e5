/**
 * A host application small enough to be an example: it serves the scripts of a folder and tells the scheduler where
 * they are, as a real one does. Embedded mode runs it when no other host application is configured, so that a
 * script in the folder can be run by its name.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import express from 'express';
import { listen } from '@stadion/service-kit';

export interface ExampleHost {
  url: string;
  /** Serves one more file, under its own name; answers the name. */
  add(path: string): string;
  close(): Promise<void>;
}

export async function startExampleHost(folder: string, authToken: string): Promise<ExampleHost> {
  const added = new Map<string, string>();
  const app = express();
  app.disable('x-powered-by');

  async function pathOf(name: string | undefined): Promise<string | undefined> {
    if (name === undefined) return undefined;
    const own = added.get(name);
    if (own) return own;
    const names = await readdir(folder).catch((): string[] => []);
    return names.includes(name) ? join(folder, name) : undefined;
  }

  app.get('/scripts/:name', async (request, response) => {
    const path = await pathOf(request.params.name);
    if (!path) return void response.status(404).send('There is no such script.');
    response.type('text/plain').send(await readFile(path));
  });

  app.get('/api/v2.1/dtable/:base/run-script/:name/task/file/', async (request, response) => {
    if (request.headers.authorization !== `Token ${authToken}`) {
      return void response.status(403).json({ error_msg: 'Permission denied.' });
    }
    if (!(await pathOf(request.params.name))) {
      return void response.status(404).json({ error_msg: 'There is no such script.' });
    }
    response.json({
      // Where this request came in is where the script is, too.
      script_url: `http://${request.headers.host}/scripts/${encodeURIComponent(request.params.name)}`,
      temp_api_token: 'example-token',
    });
  });

  const { port, close } = await listen(app, { host: '127.0.0.1', port: 0 });
  return {
    url: `http://127.0.0.1:${port}`,
    add(path) {
      const name = basename(path);
      added.set(name, path);
      return name;
    },
    close: () => close(500),
  };
}
