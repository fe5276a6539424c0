/**
 * What can go wrong, one class for each thing that a program may want to tell apart. Every message
 * is a sentence that says what to do.
 */

/** Everything that this package throws, but for the `TypeError` of an argument that can be none. */
export class RewindowError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/**
 * Nothing answered in time, or the line was cut before an answer was whole.
 *
 * `key` is the idempotency key of a write, undefined of a read: whether it was written is not known,
 * and to ask again under that key is safe.
 */
export class NoAnswer extends RewindowError {
  readonly key: string | undefined;

  constructor(message: string, key?: string) {
    super(message);
    this.key = key;
  }
}

/** Something answers at the address, and it is no node of Rewindow. */
export class NotRewindow extends RewindowError {}

/** A node answered in a shape that this client does not know. */
export class OtherVersion extends RewindowError {}

/** A message that `toUIMessages` can't give back as one: its neutral parts are the server's to join. */
export class NotUIMessage extends RewindowError {}

/**
 * The server said no; a code without a class of its own is one of these.
 *
 * `status` is HTTP's, `code` the contract's, `message` the server's sentence, `fields` whatever else
 * it said. `key` is the idempotency key that a write was made under, undefined of a read.
 */
export class Refused extends RewindowError {
  readonly status: number;
  readonly code: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly key: string | undefined;

  constructor(
    status: number,
    code: string,
    message: string,
    fields: Readonly<Record<string, unknown>>,
    key?: string,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
    this.key = key;
  }
}

/** The request can't be understood. */
export class InvalidRequest extends Refused {
  /** What is wrong, where it is one field. */
  get field(): string | undefined {
    return this.fields["field"] as string | undefined;
  }
}

/** A valid API key is missing. */
export class Unauthorized extends Refused {}

/** There is no such context, or nothing under this path. */
export class NotFound extends Refused {}

/** The path does not take this method. */
export class MethodNotAllowed extends Refused {}

/** `ifVersion` is not the version. */
export class Conflict extends Refused {
  /** The current one. */
  get version(): number {
    return this.fields["version"] as number;
  }
}

/** The context was deleted; what was said stays readable. */
export class Tombstoned extends Refused {}

/** More than a limit allows, which the sentence names. */
export class TooLarge extends Refused {}

/** The idempotency key was used with another body. */
export class IdempotencyKeyReused extends Refused {}

/** The window holds what the format asked for has no words for. */
export class NotExpressible extends Refused {
  /** The message that it is about. */
  get seq(): number | undefined {
    return this.fields["seq"] as number | undefined;
  }
}

/** Too many requests, or too many live streams, until the time to wait was over. */
export class RateLimited extends Refused {
  /** Seconds. */
  get retryAfter(): number | undefined {
    return this.fields["retry_after"] as number | undefined;
  }
}

/** The node could not answer until the time to wait was over. */
export class Unavailable extends Refused {
  /** Seconds. */
  get retryAfter(): number | undefined {
    return this.fields["retry_after"] as number | undefined;
  }
}

/** A bug of the server. */
export class Internal extends Refused {
  /** Under which the node's log has it. */
  get traceId(): string | undefined {
    return this.fields["trace_id"] as string | undefined;
  }
}

/** The class of each code. */
export const REFUSALS: Readonly<Record<string, typeof Refused>> = {
  invalid_request: InvalidRequest,
  unauthorized: Unauthorized,
  not_found: NotFound,
  method_not_allowed: MethodNotAllowed,
  conflict: Conflict,
  tombstoned: Tombstoned,
  too_large: TooLarge,
  idempotency_key_reused: IdempotencyKeyReused,
  not_expressible: NotExpressible,
  rate_limited: RateLimited,
  unavailable: Unavailable,
  internal: Internal,
};
