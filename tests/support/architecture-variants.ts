// Configs of each architecture that the recorded ones do not have.

/** Settings that published models have and the recorded ones do not. */
export const variants: Record<string, Record<string, unknown>[]> = {
  qwen2_moe: [
    { use_sliding_window: true, sliding_window: 3, layer_types: null, norm_topk_prob: true },
    { qkv_bias: false, decoder_sparse_step: 2, tie_word_embeddings: true },
  ],
  qwen3_moe: [{ use_sliding_window: true, sliding_window: 4, mlp_only_layers: [], attention_bias: true }],
  olmoe: [{ clip_qkv: 0.5, num_key_value_heads: 2, norm_topk_prob: true, hidden_act: 'gelu' }],
  deepseek_v2: [
    {
      q_lora_rank: 12,
      topk_method: 'group_limited_greedy',
      n_group: 3,
      topk_group: 2,
      n_shared_experts: null,
    },
    {
      rope_parameters: {
        rope_type: 'yarn',
        rope_theta: 10_000,
        factor: 4,
        original_max_position_embeddings: 16,
        mscale: 0.7,
        mscale_all_dim: 0.7,
      },
    },
  ],
  deepseek_v3: [{ q_lora_rank: null, attention_bias: true, rope_interleave: false, norm_topk_prob: false }],
  gpt_oss: [{ swiglu_limit: 0.5, layer_types: ['full_attention', 'sliding_attention'], sliding_window: 3 }],
  granitemoe: [{ tie_word_embeddings: true, attention_bias: true }],
  phimoe: [
    {
      attention_bias: true,
      lm_head_bias: true,
      sliding_window: 5,
      router_jitter_noise: 0.3,
      rope_scaling: {
        type: 'longrope',
        short_factor: [1, 1.1, 1.2, 1.3],
        long_factor: [2, 3, 4, 5],
        short_mscale: 1.1,
        long_mscale: 1.2,
        original_max_position_embeddings: 128,
      },
      rope_parameters: null,
    },
  ],
  glm4_moe: [{ use_qk_norm: false, attention_bias: true, partial_rotary_factor: 1, rope_parameters: null }],
}
