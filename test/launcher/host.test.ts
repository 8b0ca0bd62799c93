import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseWay, type HostFacts, isPreemptible } from '../../src/launcher/host.js';

const debian: HostFacts = {
  lsms: ['lockdown', 'landlock', 'apparmor'],
  preemptible: false,
  hasSymbol: () => true,
};
const without =
  (...names: string[]) =>
  (name: string): boolean =>
    !names.includes(name);

describe('programs go', () => {
  test('through the BPF LSM where the kernel lists it', () => {
    assert.equal(chooseWay({ ...debian, lsms: ['landlock', 'bpf'], preemptible: true }), 'lsm');
  });
  test('through fmod_ret where the kernel does not list the BPF LSM', () => {
    assert.equal(chooseWay(debian), 'fmod_ret');
  });
  test('through fmod_ret where the kernel does not tell its LSMs, since that way needs none', () => {
    assert.equal(chooseWay({ ...debian, lsms: undefined }), 'fmod_ret');
  });
  test('through fmod_ret where the kernel has no BPF LSM at all', () => {
    assert.equal(chooseWay({ ...debian, hasSymbol: without('bpf_lsm_file_open') }), 'fmod_ret');
  });
});

describe('a kernel is refused', () => {
  const refused = (facts: Partial<HostFacts>, message: RegExp): void =>
    assert.throws(() => chooseWay({ ...debian, ...facts }), { code: 'NO_WAY', message });

  test('that lists no BPF LSM and cannot attach to functions, with what it lacks and the boot parameter', () => {
    refused(
      { hasSymbol: without('register_ftrace_direct') },
      /needs CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y\. Boot .* lsm=lockdown,landlock,apparmor,bpf/,
    );
  });
  test('that has neither way, with both options it would need', () => {
    refused(
      { hasSymbol: without('arch_prepare_bpf_trampoline', 'bpf_lsm_file_open') },
      /needs CONFIG_BPF_JIT=y\. Use a kernel built with CONFIG_BPF_LSM=y/,
    );
  });
  test('that lists no BPF LSM and preempts, since it would skip programs', () => {
    refused({ preemptible: true }, /preempts tasks inside the kernel, so it skips programs.*lsm=.*,bpf/);
  });
  test('that lists no BPF LSM and does not tell whether it preempts', () => {
    refused({ preemptible: undefined }, /cannot be found out/);
  });
});

describe('whether a kernel preempts', () => {
  const dynamic = '#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1';
  const cases: [what: string, args: Parameters<typeof isPreemptible>, answer: boolean | undefined][] = [
    [
      'is no where its version does not speak of it',
      ['#1 SMP Debian 5.10', undefined, undefined, undefined],
      false,
    ],
    [
      'is yes where it is built so',
      ['#1 SMP PREEMPT Debian', 'none (voluntary)', undefined, undefined],
      true,
    ],
    ['is yes for a real-time kernel', ['#1 SMP PREEMPT_RT Debian', undefined, undefined, undefined], true],
    [
      'is the current mode’s where debugfs tells it',
      [dynamic, 'none (voluntary) full', 'preempt=full', ''],
      false,
    ],
    [
      'is yes in lazy mode, which preempts too',
      [dynamic, 'full (lazy)\n', '', 'CONFIG_PREEMPT_NONE=y'],
      true,
    ],
    ['is the command line’s where debugfs is locked', [dynamic, undefined, 'ro preempt=full', ''], true],
    [
      'is the last one’s of two words on the command line',
      [dynamic, undefined, 'preempt=full preempt=none', ''],
      false,
    ],
    [
      'is the configuration’s where nobody chose',
      [dynamic, undefined, 'ro', 'CONFIG_PREEMPT_VOLUNTARY=y\n'],
      false,
    ],
    ['is yes by a configuration for it', [dynamic, undefined, 'ro', 'CONFIG_PREEMPT=y\n'], true],
    ['is unknown where nothing tells', [dynamic, undefined, 'ro', undefined], undefined],
  ];
  for (const [what, args, answer] of cases) test(what, () => assert.equal(isPreemptible(...args), answer));
});
