/** `docker compose up -d`, and everything a host application and an operator do after it. */
import { eventually } from '@stadion/testkit';
import { ComposeProject, authToken, base, databasePassword } from './compose.js';

jest.setTimeout(180_000);

const timeLimitS = 6;
let project: ComposeProject;

beforeAll(async () => {
  project = await ComposeProject.open({
    STADION_TIME_LIMIT: String(timeLimitS),
    STADION_MEMORY: '128m',
    STADION_TMP_SIZE: '64m',
    TIME_ZONE: 'Asia/Tokyo',
  });
  // An operator types this and nothing else; it builds what is not there.
  await project.compose(['up', '-d']);
}, 600_000);
afterAll(() => (project as ComposeProject | undefined)?.close());

describe('what `docker compose up -d` brings up', () => {
  it('is healthy, all of it', async () => {
    await project.healthy();
    const all = await Promise.all(
      (['mariadb', 'scheduler', 'starter'] as const).map((service) => project.inspect(service)),
    );
    expect(all.flat().map(({ RestartCount }) => RestartCount)).toEqual([0, 0, 0]);
  });

  it('has no more power than it needs', async () => {
    const [[mariadb], [scheduler], [starter]] = await Promise.all([
      project.inspect('mariadb'),
      project.inspect('scheduler'),
      project.inspect('starter'),
    ]);
    for (const { HostConfig } of [mariadb!, scheduler!, starter!]) {
      expect(HostConfig).toMatchObject({
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges:true'],
        RestartPolicy: { Name: 'unless-stopped' },
      });
    }
    expect(mariadb!.Config.User).toBe('mysql');
    expect(scheduler!.Config.User).toBe('1000:1000');
    expect([mariadb!, scheduler!].flatMap(({ HostConfig }) => HostConfig.CapAdd ?? [])).toEqual([]);
    const socket = ({ Mounts }: (typeof all)[number]) =>
      Mounts.some(({ Destination }) => Destination === '/var/run/docker.sock');
    const all = [mariadb!, scheduler!, starter!];
    expect(all.map(socket)).toEqual([false, false, true]);
  });

  it('publishes the scheduler alone, on loopback', async () => {
    const published = async (service: 'mariadb' | 'scheduler' | 'starter') =>
      (await project.inspect(service)).flatMap(({ HostConfig }) =>
        Object.entries(HostConfig.PortBindings ?? {}).flatMap(([port, bindings]) =>
          (bindings ?? []).map(({ HostIp }) => `${HostIp} ${port}`),
        ),
      );
    expect(await published('mariadb')).toEqual([]);
    expect(await published('starter')).toEqual([]);
    expect(await published('scheduler')).toEqual(['127.0.0.1 5055/tcp']);
  });

  it('keeps sources and what builds and tests them out of the images', async () => {
    const list = async (image: string) =>
      (
        await project.docker(['run', '--rm', '--entrypoint', 'find', image, '/opt/stadion', '-type', 'f'])
      ).split('\n');
    for (const image of [project.images.scheduler, project.images.starter]) {
      const files = await list(image);
      expect(files).toContainEqual(expect.stringMatching(/\/dist\/main\.js$/));
      expect(
        files.filter((file) => /\.ts$|\.test\.js$|\/node_modules\/(jest|typescript|eslint)\//.test(file)),
      ).toEqual([]);
    }
  });
});

describe('a script', () => {
  it('gets its context and environment, and the host application its output', async () => {
    const run = await project.run(
      `import json, os, sys
context = json.load(sys.stdin)
print('Hello', context['name'])
print(os.environ['dtable_web_url'], os.environ['api_token'], os.environ['TZ'], os.getcwd())
`,
      { context_data: { name: 'world' } },
    );
    expect(run).toMatchObject({ state: 'finished', success: true, return_code: 0 });
    expect(run.output).toBe(`Hello world\n${project.host.url} temporary-token Asia/Tokyo /scripts\n`);
  });

  it('fails with its own exit code', async () => {
    const run = await project.run(`print('before')\nraise SystemExit(3)`);
    expect(run).toMatchObject({ success: false, return_code: 3, output: 'before\n' });
  });

  it('is ended at the time limit, with what it printed', async () => {
    const run = await project.run(`import time\nprint('so far', flush=True)\nwhile True: time.sleep(1)`);
    expect(run).toMatchObject({ success: false, return_code: -1 });
    expect(run.output).toBe(
      "so far\nThe script's running time exceeded the limit and the execution was aborted.",
    );
  });

  it('that takes too much memory is told so', async () => {
    const run = await project.run(
      `print('so far', flush=True)\nx = []\nwhile True: x.append(bytearray(10_000_000))`,
    );
    expect(run).toMatchObject({ success: false, return_code: 137 });
    expect(run.output).toMatch(/^so far\n.*out of memory \(limit 128 MiB\)/s);
  });

  it('that the file server does not have ends with the reason', async () => {
    const client = await project.client();
    project.host.scriptFile('gone.py', { script_url: `${project.host.url}/nowhere.py` });
    const key = await client.submitRun({ dtable_uuid: base, script_name: 'gone.py', owner: 'bob' });
    const run = await project.finished(key, client);
    expect(run).toMatchObject({ success: false, return_code: null });
    expect(run.output).toMatch(/^Fail to get script\n.*404/s);
  });

  it('that prints 50 MB has its output cut', async () => {
    const run = await project.run(`import sys\nfor _ in range(50): sys.stdout.write('x' * 1_000_000)`);
    expect(run).toMatchObject({ success: true, return_code: 0 });
    const { length } = run.output!;
    expect(length <= 1_000_000 && length > 990_000).toBe(true);
    expect(run.output!.slice(-200)).toMatch(/^x+\n.*truncated/);
  });

  it('is taken, run and read in any writing', async () => {
    const text = 'žluťoučký 羊 🏟️ \u202eمرحبا ’"\\';
    const run = await project.run(
      `import json, sys\ncontext = json.load(sys.stdin)\nprint('é', context['ключ'], len(context['ключ']))`,
      { script_name: 'скрипт 羊 🏟.py', owner: 'ålice@例え.jp', context_data: { ключ: text } },
    );
    expect(run).toMatchObject({ success: true, script_name: 'скрипт 羊 🏟.py', owner: 'ålice@例え.jp' });
    expect(run.output).toBe(`é ${text} ${[...text].length}\n`);
  });

  it('that puts symbolic links in the place of its files gets nothing through them', async () => {
    const marker = 'starter.json';
    const before = await starterReads(`/var/lib/stadion/exchange/${marker}`);
    expect(before).toMatch(/[0-9a-f-]{36}/); // there is something to leak
    const run = await project.run(`import os
targets = ['/etc/passwd', '/proc/1/environ', '/var/lib/stadion/exchange/${marker}', '../../${marker}', '../result.json']
names = ['output', 'output.txt', 'result', 'result.json', 'input', 'index.py', 'stdout', 'log', '.', 'journal.json']
made = 0
for n, name in enumerate(names):
    for path in (name, name + '.tmp'):
        try:
            if os.path.lexists(path): os.rename(path, path + '.old')
        except OSError: pass
        try:
            os.symlink(targets[n % len(targets)], path); made += 1
        except OSError: pass
os.symlink('/var/lib/stadion/exchange', 'folder')
print('made links' if made else 'made none')
`);
    expect(run).toMatchObject({ success: true, output: 'made links\n' });
    expect(await starterReads(`/var/lib/stadion/exchange/${marker}`)).toBe(before);
    expect(await project.run(`print('next')`)).toMatchObject({ output: 'next\n' });
  });

  it('of an automation runs, though nobody asks for its result', async () => {
    let asked = false;
    project.host.at('/automation-ran', (_request, response) => {
      asked = true;
      response.end();
    });
    const key = await project.submit(
      `import urllib.request, os
urllib.request.urlopen(os.environ['dtable_web_url'] + '/automation-ran')`,
      {
        operate_from: 'automation-rule',
      },
    );
    await eventually(() => asked, { timeoutMs: 30_000 });
    expect(await project.finished(key)).toMatchObject({ operate_from: 'automation-rule', success: true });
  });

  it('is one of 40 of 5 owners at once, and each gets its own result', async () => {
    const client = await project.client();
    const keys = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        project.submit(`print(${n})`, { owner: `owner-${n % 5}` }, client),
      ),
    );
    const runs = await Promise.all(keys.map((key) => project.finished(key, client)));
    expect(runs.map((run) => run.output)).toEqual(keys.map((_, n) => `${n}\n`));
    expect(runs.map((run) => run.owner)).toEqual(keys.map((_, n) => `owner-${n % 5}`));
  });
});

describe('a run that is under way while a service is restarted', () => {
  it.each(['scheduler', 'mariadb', 'starter'] as const)('survives the restart of %s', async (service) => {
    const keys = [
      await project.submit(`import time\nprint('began', flush=True)\ntime.sleep(3)\nprint('ended')`),
    ];
    await project.running(keys[0]!);
    keys.push(await project.submit(`print('queued meanwhile')`));
    await project.compose(['restart', service]);
    const [under, queued] = await Promise.all(keys.map((key) => project.finished(key)));
    expect(under).toMatchObject({ success: true, output: 'began\nended\n' });
    expect(queued).toMatchObject({ success: true, output: 'queued meanwhile\n' });
    await project.healthy();
  });

  it('is reported as failed, with the reason, when its starter was killed', async () => {
    const key = await project.submit(`import time\nprint('began', flush=True)\ntime.sleep(60)`);
    await project.running(key);
    await project.compose(['kill', 'starter']);
    await project.compose(['start', 'starter']);
    const run = await project.finished(key);
    expect(run.success).toBe(false);
    expect(run.output).toMatch(/restarted/);
    await project.healthy();
  });
});

describe('a script cannot reach', () => {
  /** From a script: which of these addresses take a connection. */
  async function reachable(targets: readonly string[]): Promise<string[]> {
    const run = await project.run(
      `import json, os, socket, sys
from concurrent.futures import ThreadPoolExecutor, wait
def opens(target):
    if target.startswith('/'): return os.path.exists(target)
    host, port = target.rsplit(':', 1)
    try: socket.create_connection((host, int(port)), 2).close()
    except OSError: return False
    return True
targets = json.load(sys.stdin)
pool = ThreadPoolExecutor(len(targets))
probes = {target: pool.submit(opens, target) for target in targets}
wait(probes.values(), 4)  # where no name server answers, asking for a name takes longer than a script may run
print(json.dumps([target for target, probe in probes.items() if probe.done() and probe.result()]), flush=True)
os._exit(0)
`,
      { context_data: [...targets] },
    );
    if (!run.success) throw new Error(`the probe failed: ${run.output}`);
    return JSON.parse(run.output!) as string[];
  }

  const ports = { mariadb: 3306, scheduler: 5055, starter: 8088 } as const;
  const names = Object.keys(ports) as (keyof typeof ports)[];

  async function addresses(): Promise<string[]> {
    const found = await Promise.all(
      names.map(async (service) => {
        const [container] = await project.inspect(service);
        const ips = Object.values(container!.NetworkSettings.Networks).map(({ IPAddress }) => IPAddress);
        return [service, container!.Name.slice(1), ...ips].map((name) => `${name}:${ports[service]}`);
      }),
    );
    return found.flat();
  }

  it('database, scheduler or starter, by name or address, though it reaches the host application', async () => {
    const targets = await addresses();
    expect(targets.length).toBeGreaterThanOrEqual(3 * 2 + 1 + 3 + 2);
    const hostApplication = `${new URL(project.host.url).hostname}:${project.host.port}`;
    expect(await reachable([hostApplication, ...targets])).toEqual([hostApplication]);
    // The addresses are right: who may reach them does.
    const asked = targets.filter((target) => /^(mariadb|starter|scheduler):/.test(target));
    expect(await reachableFromScheduler(asked)).toEqual(asked);
  });

  it("the scheduler's published port on this machine", async () => {
    const port = (await project.address()).split(':').pop()!;
    const gateway = new URL(project.host.url).hostname;
    expect(await reachable([`127.0.0.1:${port}`, `${gateway}:${port}`])).toEqual([]);
  });

  it("the engine's socket", async () => {
    const found = await reachable([
      '/scripts',
      '/var/run/docker.sock',
      '/run/docker.sock',
      '/var/lib/stadion',
    ]);
    expect(found).toEqual(['/scripts']);
  });

  async function reachableFromScheduler(targets: string[]): Promise<string[]> {
    const source = `const net = require('node:net');
Promise.all(process.argv.slice(1).map((target) => new Promise((done) => {
  const [host, port] = target.split(':');
  const socket = net.connect({ host, port: Number(port), timeout: 3000 }, () => done(target) || socket.destroy());
  socket.on('error', () => done()).on('timeout', () => done() || socket.destroy());
}))).then((open) => console.log(JSON.stringify(open.filter(Boolean))));`;
    const scheduler = await project.container('scheduler');
    const output = await project.docker(['exec', scheduler, 'node', '-e', source, '--', ...targets]);
    return JSON.parse(output) as string[];
  }
});

it('no secret is in a log', async () => {
  const logs = await project.logs();
  expect(logs).toContain('scheduler is listening');
  const secrets = [authToken, databasePassword, 'temporary-token'];
  const tokens = /eyJ[\w-]{8,}/; // the beginning of a signed one
  const leaks = logs
    .split('\n')
    .filter((line) => secrets.some((secret) => line.includes(secret)) || tokens.test(line));
  expect(leaks).toEqual([]);
});

it('`docker compose down -v` leaves nothing', async () => {
  expect((await project.leftovers()).length).toBeGreaterThan(4);
  await project.down();
  expect(await project.leftovers()).toEqual([]);
});

it('two schedulers that find an empty database both come up and share the work', async () => {
  await project.upWithTwoSchedulers();
  await project.healthy();
  const clients = await Promise.all([project.client(1), project.client(2)]);
  const all = await project.inspect('scheduler');
  expect(all.map(({ RestartCount }) => RestartCount)).toEqual([0, 0]);
  const keys = await Promise.all(
    Array.from({ length: 10 }, (_, n) => project.submit(`print(${n})`, {}, clients[n % 2])),
  );
  // Read from the other one than was asked.
  const runs = await Promise.all(keys.map((key, n) => project.finished(key, clients[(n + 1) % 2])));
  expect(runs.map((run) => run.output)).toEqual(keys.map((_, n) => `${n}\n`));
});

async function starterReads(file: string): Promise<string> {
  return await project.docker(['exec', await project.container('starter'), 'cat', file]);
}
