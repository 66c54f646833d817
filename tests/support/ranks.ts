// Several processes of one script, as ranks.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

export function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Runs a script of tests/distributed as so many ranks; gives what each printed, as JSON. */
export async function runRanks<T>(script: string, ranks: number, ...args: string[]): Promise<T[]> {
  const port = await freePort()
  const file = fileURLToPath(new URL(`../distributed/${script}`, import.meta.url))
  return Promise.all(
    Array.from({ length: ranks }, (_, rank) => oneRank<T>([file, ...args], rank, ranks, port)),
  )
}

function oneRank<T>(command: string[], rank: number, ranks: number, port: number): Promise<T> {
  const env = {
    ...process.env,
    ...{ RANK: `${rank}`, WORLD_SIZE: `${ranks}`, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}` },
    ...{ SWITCHYARD_THREADS: '1', SWITCHYARD_GEMM: 'libtorch' },
  }
  const child = spawn(process.execPath, ['--import', 'tsx', ...command], { env })
  return new Promise((resolve, reject) => {
    let [out, errors] = ['', '']
    child.stdout.on('data', chunk => (out += chunk))
    child.stderr.on('data', chunk => (errors += chunk))
    child.once('error', reject).once('close', code => {
      if (code === 0) resolve(JSON.parse(out) as T)
      else reject(new Error(`rank ${rank} ended with ${code}: ${errors}`))
    })
  })
}
