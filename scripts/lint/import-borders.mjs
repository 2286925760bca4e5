// Which part of the house may import which: a table of borders, and the ESLint rule that watches them. A message
// names the place where the import belongs. The reasons are in ARCHITECTURE.md.
import { dirname, posix, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const repoRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Tests, and what exists for them alone. */
const forTests = /\.test\.ts$|-(conformance|contract)\.ts$|\/src\/testing\/|^packages\/testkit\/|^e2e\//;

/**
 * @typedef {object} Border
 * @property {RegExp} from which files it is about, as paths from the repository's root
 * @property {RegExp} [except] which of them it is not about
 * @property {(target: string, file: string) => boolean} refuses told the target of an import: a package's specifier,
 *   or the path of a file from the repository's root
 * @property {string} message
 */

const sqlDrivers = packages('knex', 'mysql2', 'libsql');
const dockerLibraries = packages('dockerode');
const testTools = packages('@stadion/testkit', '@jest/globals', 'jest', 'supertest', 'fast-check');
const services = packages('@stadion/scheduler', '@stadion/starter', '@stadion/embedded');

/** @type {Border[]} */
const borders = [
  {
    from: /^packages\/contracts\//,
    except: forTests,
    refuses: (target) => !packages('zod')(target) && !target.startsWith('packages/contracts/'),
    message:
      'packages/contracts imports zod and nothing else: put code that needs more into packages/service-kit.',
  },
  {
    from: /^packages\//,
    refuses: (target) => services(target) || target.startsWith('services/'),
    message:
      'A package never imports a service: move what both need into packages/service-kit or packages/contracts.',
  },
  {
    from: /^services\/(?!embedded\/)/,
    refuses: (target, file) => {
      const own = file.split('/')[1];
      if (services(target)) return !packages(`@stadion/${own}`)(target);
      return target.startsWith('services/') && !target.startsWith(`services/${own}/`);
    },
    message:
      'Services never import each other: share through packages/contracts (what crosses a process border) or packages/service-kit; only services/embedded puts services together.',
  },
  {
    from: /^services\/[^/]+\/src\/http\//,
    except: /\.test\.ts$/,
    refuses: (target) => /^services\/[^/]+\/src\/store\//.test(target),
    message:
      'http/ gets actions passed in and never knows the store: call it from an action in tasks/ (or its like) and wire that up in app.ts; types too.',
  },
  {
    from: /./,
    except: /^services\/scheduler\/src\/store\/|^packages\/testkit\//,
    refuses: sqlDrivers,
    message: 'Only services/scheduler/src/store/ talks to the database: add a method to the store there.',
  },
  {
    from: /^packages\/testkit\//,
    refuses: packages('knex', 'libsql'),
    message:
      'packages/testkit makes databases with mysql2 alone: what needs knex or libsql belongs into services/scheduler/src/store/.',
  },
  {
    from: /./,
    except: /^services\/starter\/src\/executors\/docker\//,
    refuses: dockerLibraries,
    message:
      'Only services/starter/src/executors/docker/ talks to the Docker Engine: extend the Executor interface and do it there.',
  },
  {
    from: /^(packages|services)\/[^/]+\/src\//,
    except: forTests,
    refuses: (target) => testTools(target) || /\/src\/testing\//.test(target),
    message:
      'Test tools are for tests: move this into a *.test.ts file, a src/testing/ folder or packages/testkit.',
  },
];

/** @type {import('eslint').Rule.RuleModule} */
export const importBorders = {
  meta: { type: 'problem', schema: [], messages: { crossed: '{{ message }} (import of {{ target }})' } },
  create(context) {
    const file = relative(repoRoot, context.filename).split(sep).join('/');
    const ownBorders = borders.filter((border) => border.from.test(file) && !border.except?.test(file));

    /** @param {any} node */
    const check = (node) => {
      const specifier = node?.type === 'TSLiteralType' ? node.literal.value : node?.value;
      if (typeof specifier !== 'string') return;
      const target = specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : specifier;
      const crossed = ownBorders.find((border) => border.refuses(target, file));
      if (crossed) context.report({ node, messageId: 'crossed', data: { message: crossed.message, target } });
    };

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      /** @param {any} node */
      TSImportType: (node) => check(node.source ?? node.argument),
      'CallExpression[callee.name="require"]': (/** @type {any} */ node) => check(node.arguments[0]),
    };
  },
};

/** Recognizes imports of these packages, with or without a path inside them. @param {...string} names @returns {(target: string) => boolean} */
function packages(...names) {
  return (target) => names.some((name) => target === name || target.startsWith(`${name}/`));
}
