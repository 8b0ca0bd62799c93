// dist/launcher.cjs: loads the launcher, and the YAML library where it asks for that, with V8's compiled form of
// them. Another V8 or a changed source makes V8 reject that form and compile the source.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

function load(file) {
  const filename = join(__dirname, file);
  // The bundler leaves nothing but ASCII, and this way it is not decoded.
  const source = readFileSync(filename, 'latin1');
  const script = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename,
    cachedData: readFileSync(filename.replace(/\.c?js$/, '.cache')),
  });
  const loaded = { exports: {} };
  script.runInThisContext()(loaded.exports, requireCached, loaded, filename, __dirname);
  return loaded.exports;
}

let yaml;
function requireCached(name) {
  if (name !== './yaml.cjs') return require(name);
  yaml ??= load('yaml.cjs');
  return yaml;
}

try {
  load('launcher-main.js');
} catch (error) {
  process.stderr.write(`jailrun: the launcher cannot start: ${error.message}. Install jailrun anew.\n`);
  process.exit(125);
}
