// dist/launcher.cjs: loads the launcher with V8's compiled form of it. Another V8 or a changed source
// makes V8 reject that form and compile the source.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const filename = join(__dirname, 'launcher-main.js');
try {
  // The bundler leaves nothing but ASCII, and this way it is not decoded.
  const main = readFileSync(filename, 'latin1');
  const script = new Script(`(function (exports, require, module, __filename, __dirname) {${main}\n})`, {
    filename,
    cachedData: readFileSync(join(__dirname, 'launcher-main.cache')),
  });
  script.runInThisContext()(exports, require, module, filename, __dirname);
} catch (error) {
  process.stderr.write(`jailrun: the launcher cannot start: ${error.message}. Install jailrun anew.\n`);
  process.exit(125);
}
