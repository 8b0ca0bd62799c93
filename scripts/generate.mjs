// Writes src/abi.ts from bpf/abi.h: compiles the header with BTF and turns its enums and structs into
// TypeScript. `--check` fails when the file on disk is not what the header says.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'src/abi.ts');

/** The header's types as bpftool prints them. */
function readTypes() {
  const dir = mkdtempSync(join(tmpdir(), 'jailrun-abi-'));
  try {
    const object = join(dir, 'abi.o');
    // A type that nothing uses has no BTF, so each gets a variable.
    const header = readFileSync(join(root, 'bpf/abi.h'), 'utf8');
    const names = [...header.matchAll(/^(struct|enum) (jr_\w+) \{/gm)];
    const source = names.map(([, kind, name], i) => `${kind} ${name} use_${i};`).join('\n');
    execFileSync(
      'clang-14',
      [
        '-target',
        'bpf',
        '-D__BPF__',
        '-g',
        '-O2',
        '-c',
        '-include',
        join(root, 'bpf/abi.h'),
        '-x',
        'c',
        '-',
        '-o',
        object,
      ],
      { input: source },
    );
    const dump = execFileSync('/usr/sbin/bpftool', ['-j', 'btf', 'dump', 'file', object], {
      encoding: 'utf8',
    });
    const types = new Map(JSON.parse(dump).types.map((type) => [type.id, type]));
    return { types, names: names.map(([, , name]) => name) };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const pascal = (name) =>
  name.replace(/^jr_/, '').replace(/(^|_)([a-z])/g, (_, _sep, letter) => letter.toUpperCase());
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Strips JR_ and, where all share one, the rest of the prefix up to an underscore. */
function enumerators(values) {
  const names = values.map((value) => value.name.replace(/^JR_/, ''));
  let prefix = names[0].slice(0, names[0].lastIndexOf('_') + 1);
  while (prefix && !names.every((name) => name.startsWith(prefix)))
    prefix = prefix.slice(0, prefix.slice(0, -1).lastIndexOf('_') + 1);
  return values.map((value, i) => [names[i].slice(prefix.length), value.val]);
}

function enumSource(type) {
  const name = pascal(type.name);
  const rows = enumerators(type.values).map(([key, value]) => `  ${key}: ${value},`);
  return `export const ${name} = {\n${rows.join('\n')}\n} as const;\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];\n`;
}

/** How a member is typed, read and written. An array is its bytes. */
function member(types, { name, type_id, bits_offset }) {
  let type = types.get(type_id);
  while (type.kind === 'TYPEDEF') type = types.get(type.type_id);
  const at = bits_offset / 8;
  const key = camel(name);
  if (type.kind === 'ARRAY') {
    let element = types.get(type.type_id);
    while (element.kind === 'TYPEDEF') element = types.get(element.type_id);
    const length = type.nr_elems * element.size;
    return {
      key,
      type: 'Uint8Array',
      read: `new Uint8Array(bytes.subarray(${at}, ${at + length}))`,
      write: `put(bytes, ${at}, ${length}, value.${key});`,
    };
  }
  const accessor = {
    1: 'Uint8',
    2: 'Uint16',
    4: type.encoding === 'SIGNED' ? 'Int32' : 'Uint32',
    8: 'BigUint64',
  }[type.size];
  if (type.kind !== 'INT' || !accessor)
    throw new Error(`${name}: no TypeScript form for ${JSON.stringify(type)}`);
  const little = type.size === 1 ? '' : ', true';
  return {
    key,
    type: type.size === 8 ? 'bigint' : 'number',
    read: `view.get${accessor}(${at}${little})`,
    write: `view.set${accessor}(${at}, value.${key}${little});`,
  };
}

function structSource(types, type) {
  const name = pascal(type.name);
  const members = type.members.filter((m) => m.name !== 'pad').map((m) => member(types, m));
  return `export interface ${name} {
${members.map((m) => `  ${m.key}: ${m.type};`).join('\n')}
}
export const ${name} = {
  size: ${type.size},
  encode(value: ${name}): Uint8Array {
    const bytes = new Uint8Array(${type.size});
    const view = new DataView(bytes.buffer);
    ${members.map((m) => m.write).join('\n    ')}
    return bytes;
  },
  decode(bytes: Uint8Array): ${name} {
    const view = new DataView(bytes.buffer, bytes.byteOffset, ${type.size});
    return {
${members.map((m) => `      ${m.key}: ${m.read},`).join('\n')}
    };
  },
} as const;
`;
}

const { types, names } = readTypes();
const byName = new Map([...types.values()].filter((type) => type.name).map((type) => [type.name, type]));
const body = names.map((name) => {
  const type = byName.get(name);
  return type.kind === 'STRUCT' ? structSource(types, type) : enumSource(type);
});
const source = `// Generated from bpf/abi.h by \`npm run generate\`; do not edit.

function put(bytes: Uint8Array, at: number, length: number, value: Uint8Array): void {
  if (value.length > length) throw new RangeError(\`\${value.length} bytes do not fit into \${length}\`);
  bytes.set(value, at);
}

${body.join('\n')}`;

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== source) {
    console.error('src/abi.ts is not what bpf/abi.h says; run: npm run generate');
    process.exit(1);
  }
} else {
  writeFileSync(target, source);
}
