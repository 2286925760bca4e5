/** The version this service tells its peers. Kept equal to package.json by a test. */
export const version = '0.1.0';
