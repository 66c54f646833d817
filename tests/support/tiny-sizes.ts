// The sizes of a model that a test trains in milliseconds: fields of a config.json, its type and router left open.

/** Vocabulary 40, width 16, two layers of four experts; weights large enough that gradients are not all but zero. */
export const tinySizes = {
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  num_local_experts: 4,
  initializer_range: 0.2,
} as const
