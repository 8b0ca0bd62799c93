// Writes dist/*.cache, V8's compiled form of the launcher and of the YAML library, see src/launcher/cached.cjs. V8
// keeps the functions that have run, so the launcher runs here: it reads a policy and compiles a role of it, and
// starts a command in a role that does not exist.
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { Script } = require('node:vm');

const dist = join(__dirname, '../dist');
const requireThere = createRequire(join(dist, 'launcher.cjs'));

/** A bundle as the launcher loads it, but from its source. */
class Bundle {
  constructor(file) {
    this.filename = join(dist, file);
    const text = readFileSync(this.filename, 'latin1');
    this.source = `(function (exports, require, module, __filename, __dirname) {${text}\n})`;
    this.script = new Script(this.source, { filename: this.filename });
  }

  run() {
    const loaded = { exports: {} };
    this.script.runInThisContext()(loaded.exports, requireCached, loaded, this.filename, dist);
    return loaded.exports;
  }

  writeCache() {
    const { filename, source } = this;
    const cachedData = this.script.createCachedData();
    if (new Script(source, { filename, cachedData }).cachedDataRejected)
      throw new Error('V8 rejects its own code cache');
    writeFileSync(filename.replace(/\.c?js$/, '.cache'), cachedData);
  }
}

const launcher = new Bundle('launcher-main.js');
const yaml = new Bundle('yaml.cjs');
let library;
function requireCached(name) {
  if (name !== './yaml.cjs') return requireThere(name);
  library ??= yaml.run();
  return library;
}

const { dlopen } = process;
process.dlopen = (module, path) => {
  dlopen.call(process, module, path);
  // The launcher's own end would come before this script's.
  module.exports = Object.create(module.exports, { exitNow: { value: () => {} } });
};
const said = [];
process.stdout.write = (text) => said.push(text) > 0;

const directory = mkdtempSync(join(dist, 'cache-'));
const policy = join(directory, 'policy.yaml');
writeFileSync(
  policy,
  `version: 1
roles:
  cached:
    id: 800
    vars: [site]
    files: {read: ["@runtime", "/srv/\${site}/**"], write: [/tmp, "/var/log/*.log"], deny: [/etc/shadow]}
    exec: [/usr/bin]
    network: {bind: ["tcp:8080-8090"], connect: ["tcp:@loopback:5432", "unix:/run/x.sock"]}
    allow: [setuid]
`,
);
const runs = [
  // It compiles the role also where the way to this directory is not safe enough for a policy.
  ['check', policy],
  ['explain', '--role', 'webserver', 'read', '/etc/passwd'],
  ['--role', 'no such role', '--', 'true'],
];
process.on('beforeExit', () => {
  const words = runs.shift();
  if (!words) return;
  process.argv.splice(2, process.argv.length, ...words);
  launcher.run();
  // So that there is another turn, and this event again.
  setImmediate(() => {});
});
process.once('exit', () => {
  rmSync(directory, { recursive: true });
  // The host's own policies may be at fault, but this one is not; without it most would be left out.
  if (!/\bcached \(id 800\)/.test(said.join(''))) throw new Error(`the launcher says ${said.join('')}`);
  for (const bundle of [launcher, yaml]) bundle.writeCache();
});
