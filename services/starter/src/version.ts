/** The starter's version, as it tells the scheduler and file servers; a test compares it with package.json. */
export const starterVersion = '0.1.0';
export const userAgent = `python-starter/${starterVersion}`;
