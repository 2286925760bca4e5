/**
 * What runs in the sandbox just before the script: reads a `Launch` as JSON from descriptor 3 until its end, sets the
 * limits that the kernel grants, answers `{"limits": [...]}` and a line end there, and becomes the script. The environment
 * comes this way so that it stands in no command line, and so that nothing which still has privileges loads what it names.
 */
export interface Launch {
  /** What the launcher becomes. Not used by the Pyodide runner, which is the interpreter itself. */
  argv: string[];
  env: Record<string, string>;
  /** Names of `resource.RLIMIT_*` and their values. */
  limits: [name: string, value: number][];
}

/** The launcher's answer once nothing but the script itself is left to start. */
export interface Launched {
  /** Names of the limits that are in force. */
  limits: string[];
}

/** Python 3.9 or newer; started with `-I -S`, so it costs about ten milliseconds and no module of the script's can hook in. */
export const pythonLauncher = `
import json, os
blocks = []
while True:
    block = os.read(3, 65536)
    if not block: break
    blocks.append(block)
if not blocks: os._exit(125)
launch = json.loads(b''.join(blocks))
in_force = []
try:
    import resource
    for name, value in launch['limits']:
        try:
            which = getattr(resource, 'RLIMIT_' + name)
            hard = resource.getrlimit(which)[1]
            if hard != resource.RLIM_INFINITY: value = min(value, hard)
            resource.setrlimit(which, (value, value))
            in_force.append(name)
        except (AttributeError, ValueError, OSError): pass
except ImportError: pass
os.umask(0o022)
os.write(3, json.dumps({'limits': in_force}).encode() + b'\\n')
os.close(3)
try:
    os.execve(launch['argv'][0], launch['argv'], launch['env'])
except (OSError, ValueError) as error:
    os.write(2, ('The script could not be started: %s\\n' % error).encode())
    os._exit(126)
`;
