// Prints what conformance needs to know of each test that a proxy can take: its id, its kind, and
// the tests without which it means nothing. The folder of the suite is the only argument.
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const load = async name => (await import(pathToFileURL(path.resolve(process.argv[2], 'tests', name)))).default
const suites = [...await load('index.mjs'), await load('surrogate-control.mjs')]
const tests = suites.flatMap(suite => suite.tests)
  .filter(test => !test.browser_only)
  .map(test => ({ id: test.id, kind: test.kind ?? 'required', needs: test.depends_on ?? [] }))
console.log(JSON.stringify(tests))
