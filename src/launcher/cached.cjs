// dist/launcher.cjs: loads the launcher with V8's compiled form of it. Another V8 or a changed source
// makes V8 reject that form and compile the source.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const filename = join(__dirname, 'launcher-main.js');
const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(filename, 'utf8')}\n})`;
const script = new Script(source, {
  filename,
  cachedData: readFileSync(join(__dirname, 'launcher-main.cache')),
});
script.runInThisContext()(exports, require, module, filename, __dirname);
