// Writes dist/launcher-main.cache, V8's compiled form of the launcher, see src/launcher/cached.cjs. V8 keeps
// the functions that have run, so the launcher runs here, up to a role that does not exist.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const dist = join(__dirname, '../dist');
const filename = join(dist, 'launcher-main.js');
const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(filename, 'latin1')}\n})`;
const script = new Script(source, { filename });

const { dlopen } = process;
process.dlopen = (module, path) => {
  dlopen.call(process, module, path);
  // The launcher's own end would come before this script's.
  module.exports = { ...module.exports, exitNow: () => {} };
};
process.stderr.write = () => true;
process.argv.splice(2, process.argv.length, '--role', 'no such role', '--', 'true');
script.runInThisContext()(exports, require, module, filename, dist);
process.once('exit', () => {
  const cache = script.createCachedData();
  const check = new Script(source, { filename, cachedData: cache });
  if (check.cachedDataRejected) throw new Error('V8 rejects its own code cache');
  writeFileSync(join(dist, 'launcher-main.cache'), cache);
});
