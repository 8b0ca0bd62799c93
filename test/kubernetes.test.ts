// The manifests against the schemas that Kubernetes publishes, as the package kubernetes-models has them: values by its
// validators, names of fields by its types, since the schemas let unknown fields pass. No cluster runs here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { parse as parseToml } from 'smol-toml';
import { parseAllDocuments, parse as parseYaml } from 'yaml';
import { distDirectory } from '../src/launcher/addon.js';
import { parse } from '../src/profiles/parse.js';
import { resolve } from '../src/profiles/resolve.js';

const root = join(distDirectory, '..');
const directory = join(root, 'deploy/kubernetes');
const read = (file: string): string => readFileSync(join(directory, file), 'utf8');

interface Manifest {
  apiVersion: string;
  kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever a manifest has, its schema decides
  [field: string]: any;
}

/** The documents of a file, with a YAML error where there is one. */
function documentsOf(file: string): Manifest[] {
  return parseAllDocuments(read(file)).map((document) => {
    assert.deepEqual([document.errors, document.warnings], [[], []], file);
    return document.toJS();
  });
}

const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .sort();
const kustomizations = files.filter((file) => file.endsWith('kustomization.yaml'));
const manifests = files
  .filter((file) => !kustomizations.includes(file) && file !== 'policies.yaml')
  .flatMap((file) => documentsOf(file).map((manifest) => ({ file, manifest })));

/** A class of kubernetes-models: `v1`, or a group with its version. */
const moduleOf = (apiVersion: string): string => `kubernetes-models/${apiVersion}`;

async function faultOf(manifest: Manifest): Promise<string | undefined> {
  const models = await import(moduleOf(manifest.apiVersion));
  try {
    new models[manifest.kind](manifest).validate();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What the compiler says of manifests as literals of their kinds' types. */
function typeErrors(all: Manifest[]): string {
  const scratch = join(root, 'build/kubernetes');
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const lines = all.map(
    ({ apiVersion, kind, ...rest }, i) =>
      `import type { I${kind} as T${i} } from '${moduleOf(apiVersion)}';\n` +
      `export const manifest${i}: T${i} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 1)};\n`,
  );
  writeFileSync(join(scratch, 'manifests.ts'), lines.join(''));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2022'];
  const { stdout } = spawnSync(process.execPath, [tsc, '--ignoreConfig', ...options, 'manifests.ts'], {
    cwd: scratch,
    encoding: 'utf8',
  });
  rmSync(scratch, { recursive: true });
  return stdout;
}

describe('the manifests', () => {
  for (const { file, manifest } of manifests)
    test(`have a valid ${manifest.kind} in ${file}`, async () =>
      assert.equal(await faultOf(manifest), undefined));
  test('have no field that Kubernetes does not know', () => {
    assert.equal(typeErrors(manifests.map(({ manifest }) => manifest)), '');
  });
  test('are checked in earnest: a wrong value and a misspelt field are found', async () => {
    const daemonSet = documentsOf('daemonset.yaml')[0] as Manifest;
    const { spec } = structuredClone(daemonSet).spec.template;
    spec.hostPID = 'yes';
    const wrong = { ...daemonSet, spec: { ...daemonSet.spec, template: { spec } } };
    assert.match((await faultOf(wrong)) ?? '', /hostPID must be boolean/);
    const misspelt = structuredClone(daemonSet);
    misspelt.spec.template.spec.containers[0].readynessProbe = {};
    assert.match(typeErrors([misspelt]), /readynessProbe/);
  });
  test('are all in a kustomization, and every kustomization names files that are there', () => {
    const named = kustomizations.flatMap((file) => {
      const { resources = [], configMapGenerator = [] } = parseYaml(read(file));
      const own = [...resources, ...configMapGenerator.flatMap(({ files }: { files: string[] }) => files)];
      return own.map((name) => join(dirname(file), name));
    });
    for (const name of named) assert.ok(existsSync(join(directory, name)), name);
    const others = files.filter((file) => !kustomizations.includes(file) && !file.startsWith('example/'));
    assert.deepEqual(named.sort(), others.sort());
  });
  test('have patches that meet what they are for', () => {
    const daemonSet = documentsOf('daemonset.yaml')[0] as Manifest;
    const { env } = daemonSet.spec.template.spec.containers[0];
    assert.equal(env[1].name, 'JAILRUN_HOOKS');
    assert.equal(daemonSet.spec.template.metadata.annotations, undefined);
    for (const file of kustomizations)
      for (const { target, patch } of parseYaml(read(file)).patches ?? []) {
        assert.deepEqual(target, { kind: 'DaemonSet', name: daemonSet.metadata.name });
        for (const { op, path } of parseYaml(patch))
          assert.ok(
            (op === 'replace' && path === '/spec/template/spec/containers/0/env/1/value') ||
              (op === 'add' && path === '/spec/template/metadata/annotations'),
            `${op} ${path}`,
          );
      }
  });
});

test('the DaemonSet leaves enforcement in place: nothing runs at its end, and its command detaches nothing', () => {
  const [{ spec }] = documentsOf('daemonset.yaml') as [Manifest];
  const [container] = spec.template.spec.containers;
  assert.equal(container.lifecycle, undefined);
  const script = readFileSync(join(root, 'deploy/image/jailrun-host'), 'utf8');
  assert.doesNotMatch(script.replace(/^ *#.*$/gm, ''), /detach|unenroll|uninstall/);
});

test('the policies load, and let pods ask for roles that there are', () => {
  const builtIn = readdirSync(join(root, 'profiles')).filter((name) => name.endsWith('.yaml'));
  const policies = [
    ...builtIn.map((name) => parse(readFileSync(join(root, 'profiles', name)), name)),
    parse(Buffer.from(read('policies.yaml')), 'policies.yaml'),
  ];
  const roles = resolve(policies);
  for (const name of parseYaml(read('policies.yaml')).containers.roles) assert.ok(roles.has(name), name);
});

describe('containerd’s configuration', () => {
  const config = (component: string) => parseToml(read(`${component}/containerd.toml`)) as Manifest;
  const runtimes = (component: string) =>
    config(component).plugins['io.containerd.cri.v1.runtime'].containerd.runtimes;

  test('requires the injector by the name with which it registers, and pods tolerate that by one annotation', () => {
    const {
      required_plugins,
      tolerate_missing_plugins_annotation: annotation,
      enable,
    } = config('hook-injector').plugins['io.containerd.nri.v1.nri'].default_validator;
    const [daemonSet] = documentsOf('hook-injector/daemonset.yaml') as [Manifest];
    const { template } = daemonSet.spec;
    assert.equal(enable, true);
    assert.deepEqual(required_plugins, [template.spec.containers[0].args[1]]);
    assert.deepEqual(template.metadata.annotations, { [annotation]: 'true' });
    const [{ patch }] = parseYaml(read('hook-injector/kustomization.yaml')).patches;
    assert.deepEqual(parseYaml(patch)[1].value, { [annotation]: 'true' });
    const [admission] = documentsOf('hook-injector/admission.yaml') as [Manifest];
    assert.ok(admission.spec.validations[0].expression.includes(`'${annotation}'`));
  });
  test('has the RuntimeClass’s handler as a wrapped runtime', () => {
    const [runtimeClass] = documentsOf('runtime-class/runtimeclass.yaml') as [Manifest];
    const runtime = runtimes('runtime-class')[runtimeClass.handler];
    assert.equal(runtime.options.BinaryName, '/usr/local/bin/jailrun-runc');
  });
  test('passes a pod’s annotations on to its containers', () => {
    assert.deepEqual(runtimes('hook-injector').runc.pod_annotations, ['io.jailrun.*']);
    assert.deepEqual(runtimes('runtime-class').jailrun.pod_annotations, ['io.jailrun.*']);
  });
});
