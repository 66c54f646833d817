// The floors of the house: a folder imports only floors below it (docs/architecture.md).
const floors = [
  'torch',
  'formats',
  'data',
  'nn',
  'moe',
  'models',
  'parallel',
  'train',
  'engine',
  'lifecycle',
  'server',
  'ai-sdk',
  'cli',
]

/** What each floor may import beside itself and the files of src/ itself, which are below everything. */
const below = {
  torch: [],
  formats: [],
  data: ['formats'],
  nn: ['torch'],
  moe: ['nn', 'torch'],
  models: ['moe', 'nn', 'torch', 'data', 'formats'],
  parallel: ['models', 'moe', 'nn', 'torch', 'data', 'formats'],
  train: ['parallel', 'models', 'moe', 'nn', 'torch', 'data', 'formats'],
  engine: ['parallel', 'models', 'moe', 'nn', 'torch', 'data', 'formats'],
  lifecycle: ['models', 'moe', 'nn', 'torch', 'data', 'formats'],
  server: ['engine', 'models', 'data', 'formats'],
  'ai-sdk': ['server', 'engine', 'models', 'data', 'formats'],
  cli: [
    'server',
    'lifecycle',
    'engine',
    'train',
    'parallel',
    'models',
    'moe',
    'nn',
    'torch',
    'data',
    'formats',
  ],
}

/** What each wing of a floor may import of its floor's other wings; its loose files are between them all. */
const wings = {
  moe: {
    routing: [],
    routers: ['routing'],
    dispatch: ['routing'],
    losses: ['routing', 'routers', 'experts'],
    peer: ['routing'],
    experts: ['routing', 'peer'],
    classical: [],
  },
  models: {
    stack: [],
    architectures: ['stack'],
    generation: ['stack'],
    adapters: ['stack'],
    files: ['stack', 'architectures', 'adapters'],
  },
  engine: {
    cache: [],
    placement: [],
    trace: ['cache'],
    simulate: ['cache', 'trace'],
    grammar: [],
    batching: ['grammar'],
    worker: ['batching'],
  },
}

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: ['\\.test\\.ts$', '^src/index\\.ts$'] },
      to: {},
    },
    {
      name: 'native-through-torch',
      comment: 'Only torch/ talks to the native addon.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/torch/' },
      to: { path: '^src/torch/(native|operator|scopes)\\.ts$' },
    },
    ...floors.map(floor => ({
      name: `floor-${floor}`,
      severity: 'error',
      from: { path: `^src/${floor}/`, pathNot: '\\.test\\.ts$' },
      to: {
        path: '^src/',
        pathNot: [`^src/${floor}/`, '^src/(?!index)[^/]+\\.ts$', ...below[floor].map(f => `^src/${f}/`)],
      },
    })),
    ...Object.entries(wings).flatMap(([floor, beside]) =>
      Object.entries(beside).map(([wing, allowed]) => ({
        name: `wing-${floor}-${wing}`,
        severity: 'error',
        from: { path: `^src/${floor}/${wing}/`, pathNot: '\\.test\\.ts$' },
        to: {
          path: `^src/${floor}/(${Object.keys(beside).join('|')})/`,
          pathNot: [wing, ...allowed].map(w => `^src/${floor}/${w}/`),
        },
      })),
    ),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
