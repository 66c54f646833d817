import { describe, expect, it } from 'vitest'
import { placingOf } from './placing.ts'

const meeting = { MASTER_ADDR: 'first', MASTER_PORT: '29400' }

describe('the place of a process', () => {
  it('is none where nobody gave one, and in a world of one', () => {
    expect(placingOf({})).toBeNull()
    expect(placingOf({ RANK: '0', WORLD_SIZE: '1' })).toBeNull()
  })

  it.each([
    ['torchrun', { RANK: '3', WORLD_SIZE: '4', LOCAL_RANK: '1', LOCAL_WORLD_SIZE: '2' }],
    [
      'mpirun',
      {
        OMPI_COMM_WORLD_RANK: '3',
        OMPI_COMM_WORLD_SIZE: '4',
        OMPI_COMM_WORLD_LOCAL_RANK: '1',
        OMPI_COMM_WORLD_LOCAL_SIZE: '2',
      },
    ],
    [
      'srun',
      {
        SLURM_PROCID: '3',
        SLURM_STEP_NUM_TASKS: '4',
        SLURM_LOCALID: '1',
        SLURM_STEP_TASKS_PER_NODE: '2(x2)',
      },
    ],
  ])('is what %s gives', (_, variables) => {
    expect(placingOf({ ...meeting, ...variables })).toMatchObject({
      rank: 3,
      size: 4,
      localRank: 1,
      localSize: 2,
      host: 'first',
      port: 29400,
      isServed: false,
    })
  })

  it('is of an indexed Job', () => {
    expect(placingOf({ ...meeting, JOB_COMPLETION_INDEX: '1', WORLD_SIZE: '2' })).toMatchObject({
      rank: 1,
      size: 2,
    })
  })

  it('knows the store of an agent, and how often it began', () => {
    const torchrun = {
      RANK: '0',
      WORLD_SIZE: '2',
      TORCHELASTIC_USE_AGENT_STORE: 'True',
      TORCHELASTIC_RUN_ID: 'abc',
      TORCHELASTIC_RESTART_COUNT: '2',
    }
    expect(placingOf({ ...meeting, ...torchrun })).toMatchObject({
      isServed: true,
      runId: 'abc',
      restarts: 2,
    })
  })

  it.each([
    [{ RANK: '4', WORLD_SIZE: '4', MASTER_ADDR: 'x' }, /RANK: is 4/],
    [{ RANK: 'two', WORLD_SIZE: '4', MASTER_ADDR: 'x' }, /RANK: is no number/],
    [{ RANK: '1', WORLD_SIZE: '4' }, /MASTER_ADDR/],
    [{ RANK: '1', WORLD_SIZE: '4', MASTER_ADDR: 'x', MASTER_PORT: '70000' }, /MASTER_PORT: is no port/],
  ])('is refused in words: %j', (environment, message) => {
    expect(() => placingOf(environment)).toThrow(message)
  })
})
