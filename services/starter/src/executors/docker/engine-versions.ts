/** Known ways out of a container, by the versions of the parts that let them happen. */

export interface EngineVersions {
  docker: string | undefined;
  runc: string | undefined;
}

interface Advisory {
  part: keyof EngineVersions;
  id: string;
  what: string;
  /** The first good version of each maintained line, ascending; newer lines than the last are good. */
  fixedIn: readonly string[];
}

const advisories: readonly Advisory[] = [
  {
    part: 'runc',
    id: 'CVE-2024-21626',
    what: 'a container can reach the machine through a leaked file descriptor',
    fixedIn: ['1.1.12'],
  },
  {
    part: 'runc',
    id: 'CVE-2025-31133',
    what: 'a container can reach the machine through a swapped /dev/null',
    fixedIn: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
  },
  {
    part: 'docker',
    id: 'CVE-2024-41110',
    what: 'a request can pass an authorization plugin unseen',
    fixedIn: ['25.0.6', '26.1.5', '27.1.1'],
  },
];

const names = { docker: 'Docker Engine', runc: 'runc' } as const;

/** One sentence for each known hole that the versions leave open; a distribution may have mended it without a new number. */
export function versionWarnings(versions: EngineVersions): string[] {
  return advisories.flatMap(({ part, id, what, fixedIn }) => {
    const version = versions[part];
    if (version === undefined || !isBefore(version, fixedIn)) return [];
    return [
      `${names[part]} ${version} may have ${id} (${what}): update it to ${fixedIn.join(', ')} or newer, ` +
        `unless your distribution's changelog of this package names ${id} as fixed.`,
    ];
  });
}

function isBefore(version: string, fixedIn: readonly string[]): boolean {
  const seen = parse(version);
  if (!seen) return false;
  const fixes = fixedIn.map(parse).filter((fix) => fix !== undefined);
  const ofItsLine = fixes.find((fix) => fix[0] === seen[0] && fix[1] === seen[1]);
  if (ofItsLine) return compare(seen, ofItsLine) < 0;
  const last = fixes.at(-1);
  return last !== undefined && compare(seen, last) < 0;
}

type Version = readonly [major: number, minor: number, patch: number, candidate: number];

function parse(text: string): Version | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?:[-~]rc\.?(\d+))?/.exec(text);
  if (!match) return undefined;
  return [Number(match[1]), Number(match[2]), Number(match[3]), match[4] ? Number(match[4]) : Infinity];
}

function compare(a: Version, b: Version): number {
  for (const [index, part] of a.entries()) {
    const other = b[index] ?? 0;
    if (part !== other) return part < other ? -1 : 1;
  }
  return 0;
}
