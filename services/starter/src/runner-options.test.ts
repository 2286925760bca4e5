import { parseRunnerOptions } from './runner-options.js';

test('flags of docker run become settings, written as words or as a JSON list', () => {
  const expected = {
    memoryBytes: 512 * 1024 ** 2,
    cpus: 0.5,
    pids: 64,
    openFiles: 2048,
    network: 'scripts-net',
    dns: ['192.0.2.53'],
    extraHosts: ['files:192.0.2.1'],
    runnerUid: 1234,
    runnerGid: 1235,
  };
  const words =
    '--memory=512m --cpus 0.5 --pids-limit=64 --ulimit nofile=2048:2048 --network=scripts-net --dns 192.0.2.53 ' +
    '--add-host files:192.0.2.1 --user 1234:1235 --rm --read-only --cap-drop=CAP_NET_RAW --security-opt no-new-privileges';
  expect(parseRunnerOptions(words)).toEqual({ options: expected, problems: [] });
  expect(parseRunnerOptions(JSON.stringify(words.split(' ')))).toEqual({ options: expected, problems: [] });
  expect(parseRunnerOptions('["--memory 512m", "--net none"]').options).toMatchObject({
    memoryBytes: 512 * 1024 ** 2,
    network: 'none',
  });
  expect(parseRunnerOptions('-m 1g').options.memoryBytes).toBe(1024 ** 3);
});

test.each([
  '--privileged',
  '--privileged=true',
  '--cap-add=SYS_ADMIN',
  '--device /dev/kvm',
  '-v /:/host',
  '--volume=/:/host',
  '--mount type=bind,src=/,dst=/host',
  '--volumes-from other',
  '--pid=host',
  '--pid host',
  '--ipc=host',
  '--uts=host',
  '--userns=host',
  '--network=host',
  '--net host',
  '--network container:abc',
  '--security-opt seccomp=unconfined',
  '--security-opt=apparmor=unconfined',
  '--user root',
  '--user 0',
  '--user 1000:0',
  '--pids-limit -1',
  '--add-host metadata:host-gateway',
  '--memory-swap -1',
  '--sysctl net.ipv4.ip_forward=1',
  '--ulimit nproc=5',
  '--nonsense',
  '--__proto__=1',
  'image',
  '[1]',
  '["--memory"',
])('%s is refused', (text) => {
  const { problems } = parseRunnerOptions(text);
  expect(problems.length).toBeGreaterThanOrEqual(1);
});

test('every problem is listed', () => {
  const { options, problems } = parseRunnerOptions('--privileged --memory 1g --pid=host --cpus lots');
  expect(problems).toEqual([
    expect.stringMatching(/^has --privileged, which is refused: it would make/),
    expect.stringMatching(/^has --pid=host, which is refused/),
    expect.stringMatching(/^has --cpus=lots: --cpus must be a number/),
  ]);
  expect(options.memoryBytes).toBe(1024 ** 3);
});
