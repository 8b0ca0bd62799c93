/**
 * What stops jailrun itself, as opposed to the command. The message says what is wrong, why it
 * matters and the mend, and is fit to be shown as it is; `code` is for programs and never changes;
 * `cause` keeps the system's own error.
 */
export class JailrunError extends Error {
  override readonly name = 'JailrunError';

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
