// serve: the enrollment socket. A client asks with one line of JSON to be jailed, with all its threads, and is when it
// reads the answer, one line, too. It understands Jailer's messages. Clients take turns; one that is slow, sends
// nothing or too much is let go of, so none of them keeps the others waiting for long.
import { chmodSync, closeSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import type { ResolvedRole } from '../profiles/policy.js';
import { numbersIn } from './accounts.js';
import { addon } from './addon.js';
import { readClaim, removeClaim, setClaim } from './claims.js';
import { type EnrollReport, enroll, enrollProcess, stackProcess, unenrollWhat } from './enroll.js';
import { JailrunError } from './error.js';
import { type Kernel, openPins } from './kernel.js';
import { listPods, type PodState, removeDeadPods } from './pods.js';
import { findStack, type PolicySources, roleOfId, sourcesHere } from './role.js';
import { printable } from './verdict.js';

/** Where clients look for the socket, and where Jailer's do. */
const ownPath = '/run/jailrun/enroll.sock';
const jailerPath = '/run/bpfjailer/enrollment.sock';

const maxClients = 64;
const maxBytes = 1 << 16;
/** How long a client has, from its connection to the answer, in milliseconds. */
const patience = 5000;

export interface ServeRequest {
  /** Absolute path of the socket. */
  socket?: string;
  /** Listen on Jailer's own path, too. */
  jailer?: true;
  policy?: string;
  json?: true;
}

interface Peer {
  pid: number;
  pidfd: number;
  uid: number;
  groups: number[];
}

/**
 * Serves until it is killed: on its standard input where that is a socket which waits for connections, as systemd
 * gives one, otherwise on `socket`. Throws a JailrunError SOCKET, or as attach() does.
 */
export async function serve(request: ServeRequest): Promise<void> {
  const kernel = openPins() ?? (await import('./attach.js')).attach();
  const sources = sourcesHere(request.policy);
  const log = (what: object, text: string): void =>
    void process.stderr.write(
      `${request.json ? JSON.stringify({ version: 1, ...what }) : `jailrun: ${text}`}\n`,
    );
  const server = new Server(kernel, sources, log);
  if (addon.isListening(0)) await server.listen({ fd: 0 });
  else await server.listen(request.socket ?? ownPath);
  if (request.jailer) await server.listen(jailerPath);
}

type Log = (what: object, text: string) => void;

class Server {
  /** The answers are made one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly kernel: Kernel,
    private readonly sources: PolicySources,
    private readonly log: Log,
  ) {}

  async listen(where: string | { fd: number }): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (client) => this.#receive(client));
    server.maxConnections = maxClients;
    if (typeof where === 'string') await makeWay(where);
    await new Promise<void>((done, fail) => {
      server.once('error', fail);
      // Who may ask for what is decided by who asks.
      server.listen(
        typeof where === 'string' ? { path: where, readableAll: true, writableAll: true } : where,
        done,
      );
    }).catch((cause: NodeJS.ErrnoException) => {
      throw new JailrunError(
        'SOCKET',
        `The socket ${JSON.stringify(where)} cannot be served (${cause.code}).`,
        { cause },
      );
    });
    this.log(
      { type: 'serving', socket: where },
      `serves ${typeof where === 'string' ? where : 'the socket it was given'}`,
    );
  }

  #receive(client: Socket): void {
    const parts: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => client.destroy(), patience);
    client.on('error', () => client.destroy());
    client.on('close', () => clearTimeout(timer));
    const take = (part: Buffer): void => {
      parts.push(part);
      size += part.length;
      const end = part.indexOf('\n');
      if (end < 0 && size <= maxBytes) return;
      client.off('data', take).off('end', ended).resume();
      if (size > maxBytes) client.end('{"Error":"the request is too long"}\n');
      else this.#takeTurn(client, Buffer.concat(parts).toString('utf8').split('\n', 1)[0] as string);
    };
    const ended = (): void => {
      client.off('data', take);
      if (size === 0) client.destroy();
      else this.#takeTurn(client, Buffer.concat(parts).toString('utf8'));
    };
    client.on('data', take).on('end', ended);
  }

  #takeTurn(client: Socket, line: string): void {
    this.#turn = this.#turn.then(async () => {
      if (client.destroyed) return;
      const answer = await this.#answer(client, line);
      // Who has not read it by then never will.
      client.end(`${answer}\n`, () => client.destroySoon());
    });
  }

  async #answer(client: Socket, line: string): Promise<string> {
    try {
      const request = readRequest(line);
      const peer = peerOf(client);
      try {
        return await this.#fulfil(request, peer);
      } finally {
        closeSync(peer.pidfd);
      }
    } catch (error) {
      const known = error instanceof JailrunError ? error : undefined;
      if (!known)
        this.log({ type: 'fault', message: String(error) }, `a request failed: ${(error as Error).stack}`);
      const message = known?.message ?? 'the request failed; see what jailrun serve wrote';
      if (isJailers(line)) return JSON.stringify({ Error: message });
      return JSON.stringify({ version: 1, type: 'error', code: known?.code ?? 'INTERNAL', message });
    }
  }

  async #fulfil(request: Request, peer: Peer): Promise<string> {
    const { kernel, sources } = this;
    removeDeadPods(kernel);
    const jailed = kernel.podOf(peer.pidfd) !== undefined;
    const asRoot = (): void => {
      if (jailed) throw refused('What is jailed can ask for nothing but what holds it.');
      if (peer.uid !== 0) throw refused('Only root may ask for that.');
    };
    switch (request.what) {
      case 'enroll': {
        const roles = request.id === undefined ? request.roles : [(await roleOfId(request.id, sources)).name];
        const asked = { role: roles, var: request.vars };
        const marks = request.pod === undefined ? {} : { jailerPod: request.pod };
        const name = request.pod === undefined ? {} : { name: `pod-${request.pod}` };
        const how = { request: { ...asked, ...name }, sources, marks };
        const usage = '{"enroll":{"role":"NAME"}}';
        let report: EnrollReport;
        if (jailed) {
          const pod = podOf(kernel, peer.pid);
          if (!pod) throw refused('This process is in a jail that nothing is known of.');
          // What holds it may be said with the same variables, and only together have all of them a value.
          const both = { role: [...pod.request.role, ...roles], var: merge(pod.request.var, request.vars) };
          const stack = await findStack(both, sources, usage);
          const held = await findStack(pod.request, sources, usage);
          const added = stack.slice(held.length);
          for (const role of added) if (peer.uid !== 0) requireGrant(role, peer);
          requireOneUser(peer);
          report = stackProcess(kernel, peer, pod, { ...how, stack: { held, added } });
        } else {
          const stack = await findStack(asked, sources, usage);
          for (const role of stack) if (peer.uid !== 0) requireGrant(role, peer);
          requireOneUser(peer);
          report = enrollProcess(kernel, peer, { ...how, stack });
        }
        endChanged(peer);
        this.log(
          report,
          `enrolled process ${peer.pid} of user ${peer.uid} in ${report.pod}, role ${report.role}`,
        );
        return request.own ? JSON.stringify(report) : '"Success"';
      }
      case 'query': {
        const pod = podOf(kernel, request.pid);
        if (request.pid !== peer.pid && (jailed || (peer.uid !== 0 && ownerOf(request.pid) !== peer.uid)))
          throw refused('Only root may ask about others, and that only where it is not jailed.');
        if (!pod) throw new JailrunError('NO_POD', `Process ${request.pid} is not jailed.`);
        if (request.own)
          return JSON.stringify({
            version: 1,
            type: 'held',
            pod: pod.name,
            podId: String(pod.id),
            role: pod.role,
          });
        // As text: the numbers of our pods are larger than JSON.stringify() can write.
        return `{"ProcessInfo":{"pod_id":${pod.jailerPod ?? pod.id},"role_id":${pod.roles[0]?.id}}}`;
      }
      case 'enrollPath': {
        asRoot();
        const roles = [(await roleOfId(request.id, sources)).name];
        const { kind, path } = request;
        const policy = sources.policy === undefined ? {} : { policy: sources.policy };
        const target = kind === 'cgroup' ? { cgroup: path } : { exe: path };
        this.log(await enroll({ role: roles, ...policy, ...target }), `enrolls ${path}`);
        return '"Success"';
      }
      case 'removePath': {
        asRoot();
        const { kind, path } = request;
        const found = unenrollWhat(kernel, kind === 'cgroup' ? { cgroup: path } : { executable: path });
        if (!found) throw new JailrunError('NO_POD', `Nothing enrolls ${printable(path)}.`);
        return '"Success"';
      }
      case 'setXattr': {
        asRoot();
        setClaim(kernel, request.path, { role: request.id, pod: BigInt(request.pod) });
        return '"Success"';
      }
      case 'checkXattr': {
        asRoot();
        const { role, pod } = await readClaim(kernel, request.path, sources);
        return `{"XattrInfo":{"pod_id":${pod},"role_id":${role}}}`;
      }
      case 'removeXattr': {
        asRoot();
        removeClaim(request.path);
        return '"Success"';
      }
    }
  }
}

/** What one already has may be said again. */
const merge = (held: readonly string[], asked: readonly string[]): string[] => [
  ...new Set([...held, ...asked]),
];

/**
 * Throws where the caller is not, in all ways, the user that connected. A set-id program that somebody else's jail
 * is put around could go on with rights that it fails to drop there (prctl(2), PR_SET_NO_NEW_PRIVS).
 */
function requireOneUser({ pid, uid }: Peer): void {
  const uids = /^Uid:\s*(.+)$/m.exec(statusOf(pid))?.[1]?.split(/\s+/) ?? [];
  if (uids.length !== 4 || uids.some((one) => Number(one) !== uid))
    throw refused(`Process ${pid} acts for more users than ${uid}, who asked. Ask as one user.`);
}

/** Whoever became somebody else while it was enrolled is killed: its jail is around the wrong program. */
function endChanged(peer: Peer): void {
  try {
    requireOneUser(peer);
  } catch (error) {
    addon.pidfdSignal(peer.pidfd, constants.signals.SIGKILL);
    throw error;
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    throw refused('The client has gone.');
  }
}

/** Removes what a server left that was killed; a socket that somebody serves stays. */
async function makeWay(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (path === ownPath) chmodSync(dirname(path), 0o711);
  const served = await new Promise<boolean>((done) => {
    const probe = connect(path, () => {
      probe.destroy();
      done(true);
    }).once('error', () => done(false));
  });
  if (served)
    throw new JailrunError(
      'SOCKET',
      `Another process serves ${path}. End it first, or name another: --socket PATH`,
    );
  rmSync(path, { force: true });
}

const refused = (message: string): JailrunError => new JailrunError('REFUSED', message);

function peerOf(client: Socket): Peer {
  const { _handle: handle } = client as unknown as { _handle: { fd: number } | null };
  if (!handle) throw refused('The client has gone.');
  const { pid, uid, groups, pidfd = addon.pidfdOpen(pid) } = addon.peerOf(handle.fd);
  if (pidfd === undefined) throw refused('The client has gone.');
  return { pid, uid, groups, pidfd };
}

function podOf(kernel: Kernel, pid: number): (PodState & { id: bigint }) | undefined {
  const id = kernel.podOfProcess(pid);
  return listPods().find((pod): pod is PodState & { id: bigint } => id !== undefined && pod.id === id);
}

function ownerOf(pid: number): number | undefined {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
}

/** Throws unless the role says that the peer may have itself enrolled in it. */
function requireGrant({ name, enroll }: ResolvedRole, { uid, groups }: Peer): void {
  const isNamed = (names: readonly string[], file: string, ids: readonly number[]): boolean =>
    names.some((one) => ids.includes(/^\d+$/.test(one) ? Number(one) : (numbersIn(file).get(one) ?? -1)));
  if (isNamed(enroll?.users ?? [], '/etc/passwd', [uid])) return;
  if (isNamed(enroll?.groups ?? [], '/etc/group', groups)) return;
  throw refused(
    `User ${uid} may not be enrolled in role ${name}. The role says who may: enroll: {users: [...]}`,
  );
}

/** A request; `own` where it has our form and gets our form of an answer. */
type Request = { own: boolean } & (
  | { what: 'enroll'; roles: string[]; vars: string[]; id?: number; pod?: string }
  | { what: 'query'; pid: number }
  | { what: 'enrollPath'; kind: 'cgroup' | 'executable'; path: string; id: number }
  | { what: 'removePath'; kind: 'cgroup' | 'executable'; path: string }
  | { what: 'setXattr'; path: string; pod: number; id: number }
  | { what: 'checkXattr' | 'removeXattr'; path: string }
);

const bad = (message: string): JailrunError =>
  new JailrunError(
    'USAGE',
    `${message} A request is a line such as {"enroll":{"role":"NAME"}} or {"query":{"pid":1}}.`,
  );

/** Whether a line, perhaps a faulty one, is one of Jailer's requests, which begin with a capital. */
const isJailers = (line: string): boolean => /^\s*\{\s*"[A-Z]/.test(line);

/** Reads one line. Throws a JailrunError USAGE for what is none of the requests. */
export function readRequest(line: string): Request {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch {
    throw bad('The request is not JSON.');
  }
  const [entry, ...more] = Object.entries(isObject(message) ? message : {});
  if (!entry || more.length > 0 || !isObject(entry[1]))
    throw bad('The request has not the one field that names it.');
  const [name, fields] = entry;
  const read = Object.hasOwn(forms, name) ? forms[name] : undefined;
  if (!read) throw bad(`There is no request ${printable(name)}.`);
  const reader = new Fields(name, fields);
  const request = read(reader);
  reader.stopOnUnread();
  return { own: !isJailers(line), ...request } as Request;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The fields of a request, each of which must be read. */
class Fields {
  readonly #unread: Map<string, unknown>;

  constructor(
    private readonly request: string,
    fields: Record<string, unknown>,
  ) {
    this.#unread = new Map(Object.entries(fields));
  }

  #take(name: string): unknown {
    const value = this.#unread.get(name);
    this.#unread.delete(name);
    return value;
  }

  number(name: string, highest: number): number {
    const value = this.#take(name);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > highest)
      throw bad(`${this.request}.${name} is not a number from 0 to ${highest}.`);
    return value;
  }

  text(name: string): string {
    const [text, ...more] = this.texts(name);
    if (text === undefined || more.length > 0) throw bad(`${this.request}.${name} is not one text.`);
    return text;
  }

  /** One text or a list of them; none where the field is missing. */
  texts(name: string): string[] {
    const value = this.#take(name) ?? [];
    const list = Array.isArray(value) ? value : [value];
    if (!list.every((one) => typeof one === 'string' && one !== '' && !one.includes('\0')))
      throw bad(`${this.request}.${name} is not text.`);
    return list;
  }

  stopOnUnread(): void {
    const [name] = this.#unread.keys();
    if (name !== undefined) throw bad(`${this.request} has no field ${printable(name)}.`);
  }
}

const maxPid = 2 ** 31 - 1;
const maxRole = 65535;

function enrollPath(kind: 'cgroup' | 'executable'): (fields: Fields) => object {
  return (fields) => {
    // Ours gets a number of its own: several ways into one pod of Jailer's are several pods.
    fields.number('pod_id', Number.MAX_SAFE_INTEGER);
    return {
      what: 'enrollPath',
      kind,
      path: fields.text(`${kind}_path`),
      id: fields.number('role_id', maxRole),
    };
  };
}

const removePath =
  (kind: 'cgroup' | 'executable') =>
  (fields: Fields): object => ({ what: 'removePath', kind, path: fields.text(`${kind}_path`) });

const claimOf =
  (what: 'checkXattr' | 'removeXattr') =>
  (fields: Fields): object => ({ what, path: fields.text('executable_path') });

const forms: Record<string, (fields: Fields) => object> = {
  enroll: (fields) => ({ what: 'enroll', roles: fields.texts('role'), vars: fields.texts('var') }),
  query: (fields) => ({ what: 'query', pid: fields.number('pid', maxPid) }),
  Enroll: (fields) => ({
    what: 'enroll',
    roles: [],
    vars: [],
    pod: String(fields.number('pod_id', Number.MAX_SAFE_INTEGER)),
    id: fields.number('role_id', maxRole),
  }),
  Query: (fields) => ({ what: 'query', pid: fields.number('pid', maxPid) }),
  EnrollExecutable: enrollPath('executable'),
  EnrollCgroup: enrollPath('cgroup'),
  RemoveExecutable: removePath('executable'),
  RemoveCgroup: removePath('cgroup'),
  SetXattr: (fields) => ({
    what: 'setXattr',
    path: fields.text('executable_path'),
    pod: fields.number('pod_id', Number.MAX_SAFE_INTEGER),
    id: fields.number('role_id', maxRole),
  }),
  CheckXattr: claimOf('checkXattr'),
  RemoveXattr: claimOf('removeXattr'),
};
