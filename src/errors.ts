// The family of errors users meet. Fields carry the data; the message ends with what to do about it.

/** Base of every error Switchyard throws on purpose. */
export class SwitchyardError extends Error {
  override readonly name: string = 'SwitchyardError'

  /** Names from files may hold anything: what would break a line, or a terminal, is written out. */
  constructor(message: string, options?: { cause?: unknown }) {
    super(message.replace(unprintable, written), options)
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u001f\u007f-\u009f]/g

const written = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`

/** A setting that cannot be: names the path, the value and what is allowed. */
export class ConfigError extends SwitchyardError {
  override readonly name = 'ConfigError'
  /** Where the setting stands, as in `router.k`. */
  readonly path: string
  /** The message without the path, for those who have another name for it. */
  readonly problem: string

  constructor(message: string, { path, cause }: { path: string; cause?: unknown }) {
    super(path === '' ? message : `${path}: ${message}`, { cause })
    this.path = path
    this.problem = message
  }
}

/** A file that is not what its name or header says. */
export class FormatError extends SwitchyardError {
  override readonly name = 'FormatError'
  readonly file: string

  constructor(message: string, { file, cause }: { file: string; cause?: unknown }) {
    super(`${file}: ${message}`, { cause })
    this.file = file
  }
}

/** Training or evaluation text that is missing, empty or unusable. */
export class DataError extends SwitchyardError {
  override readonly name = 'DataError'
}

/** An operator refused its arguments. `args` shows them as `f32[2, 3]`. */
export class TorchError extends SwitchyardError {
  override readonly name: string = 'TorchError'
  readonly operator: string
  readonly args: readonly string[]

  constructor(
    message: string,
    { operator = '', args = [] }: { operator?: string; args?: readonly string[] },
  ) {
    super(operator === '' ? message : `${operator}(${args.join(', ')}): ${message}`)
    this.operator = operator
    this.args = args
  }
}

/** Memory ran out. Sizes in bytes are what libtorch says of them; its own words are the `cause`. */
export class OutOfMemoryError extends TorchError {
  override readonly name = 'OutOfMemoryError'
  /** What was asked for last. */
  readonly bytes: number | undefined
  /** Free on the CUDA device. */
  readonly free: number | undefined
  /** Kept by libtorch's allocator for tensors of other sizes. */
  readonly unused: number | undefined

  constructor(message: string, context: { operator?: string; args?: readonly string[] }) {
    const bytes = sizeIn(message, /tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)/i)
    const free = sizeIn(message, /of which ([\d.]+) (bytes|KiB|MiB|GiB) is free/)
    const unused = sizeIn(message, /([\d.]+) (bytes|KiB|MiB|GiB) is reserved by PyTorch but unallocated/)
    const wanted = bytes === undefined ? 'more memory than there is' : `${gib(bytes)} more`
    const device = free === undefined ? '' : `, ${gib(free)} are free and ${gib(unused ?? 0)} kept unused`
    super(
      `out of memory: wanted ${wanted}${device}; lower the batch size, the sequence length or the model's width` +
        (device === '' ? '' : ', or in training set recompute: layers or precision: half'),
      context,
    )
    this.bytes = bytes
    this.free = free
    this.unused = unused
    this.cause = new Error(message)
  }
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`

/** "tried to allocate 1024 bytes" on a CPU, "Tried to allocate 2.00 GiB" on CUDA. */
function sizeIn(message: string, pattern: RegExp): number | undefined {
  const [, amount, unit = ''] = pattern.exec(message) ?? []
  const scale = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit]
  return amount === undefined || scale === undefined ? undefined : Number(amount) * scale
}

/** A tensor was used after dispose() or after the tidy() that owned it. */
export class DisposedTensorError extends TorchError {
  override readonly name = 'DisposedTensorError'

  constructor(context: { operator?: string; args?: readonly string[] }) {
    super(
      'a tensor was used after it was disposed: return it from tidy() or persist() it to keep it',
      context,
    )
  }
}

/** As much is asked for at once as can wait. */
export class BusyError extends SwitchyardError {
  override readonly name = 'BusyError'
  /** Requests that wait. */
  readonly waiting: number

  constructor(waiting: number) {
    super(`${waiting} requests wait already, which is all that may: try again later`)
    this.waiting = waiting
  }
}

/** What was to answer has ended meanwhile. */
export class StoppedError extends SwitchyardError {
  override readonly name = 'StoppedError'
}

/** For us: a condition that only a bug in Switchyard can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`internal error: ${message}; please report it`)
}
