import { defaultScriptFile, languageOf, languages, scriptFileOf } from './script-file.js';

test('the default file of a language is of that language', () => {
  expect(languages.map((language) => languageOf(defaultScriptFile(language)))).toEqual([...languages]);
});

test('a name tells by its last suffix only, and an address by its path only', () => {
  expect(scriptFileOf('a.py.mjs', undefined)).toBe('index.mjs');
  expect(scriptFileOf('mjs', 'http://h.py/a?b=.js#.js')).toBeUndefined();
  expect(scriptFileOf(undefined, 'no address.py')).toBeUndefined();
  expect(scriptFileOf(undefined, 'http://h/%E2%82%AC.js')).toBe('index.js');
});
