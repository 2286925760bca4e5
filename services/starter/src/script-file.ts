/**
 * What a script is called in its folder, which is how every runner tells its language: `index.py`, `index.mjs` (an
 * ES module) or `index.js` (CommonJS). Which one a script becomes follows from its own name. Pure.
 */

export const languages = ['python', 'node'] as const;
export type Language = (typeof languages)[number];

export type ScriptFile = 'index.py' | 'index.mjs' | 'index.js';

const filesBySuffix: Readonly<Record<string, ScriptFile>> = {
  '.py': 'index.py',
  '.mjs': 'index.mjs',
  '.js': 'index.js',
  '.cjs': 'index.js',
};

export function languageOf(file: ScriptFile): Language {
  return file === 'index.py' ? 'python' : 'node';
}

/** By the script's name where that tells, else by the path of its address; undefined when neither does. */
export function scriptFileOf(name: string | undefined, url: string | undefined): ScriptFile | undefined {
  return fileBySuffix(name) ?? fileBySuffix(pathOf(url));
}

/** What a script of that language is called when its own name does not say, or says another language. */
export function defaultScriptFile(language: Language): ScriptFile {
  return language === 'python' ? 'index.py' : 'index.mjs';
}

function fileBySuffix(name: string | undefined): ScriptFile | undefined {
  const suffix = /\.[a-z]+$/i.exec(name ?? '')?.[0].toLowerCase();
  return suffix !== undefined && Object.hasOwn(filesBySuffix, suffix) ? filesBySuffix[suffix] : undefined;
}

function pathOf(url: string | undefined): string | undefined {
  return url !== undefined && URL.canParse(url) ? new URL(url).pathname : undefined;
}
