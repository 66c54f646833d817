// DO NOT EDIT: made by `npm run gen` from scripts/gen/operators.txt and the schemas of libtorch 1.13.

import type { DType, Device, Scalar } from '../dtype.ts'
import type { Generator } from '../generator.ts'
import { call, type Handle } from '../native.ts'
import { Operator } from '../operator.ts'
import { Tensor } from '../tensor.ts'

const zerosOp = new Operator('aten::zeros')
const onesOp = new Operator('aten::ones')
const fullOp = new Operator('aten::full')
const empty_memory_formatOp = new Operator('aten::empty', 'memory_format')
const arange_start_stepOp = new Operator('aten::arange', 'start_step')
const linspaceOp = new Operator('aten::linspace')
const eye_mOp = new Operator('aten::eye', 'm')
const rand_generatorOp = new Operator('aten::rand', 'generator')
const randn_generatorOp = new Operator('aten::randn', 'generator')
const randint_low_generatorOp = new Operator('aten::randint', 'low_generator')
const randperm_generatorOp = new Operator('aten::randperm', 'generator')
const zerosLikeOp = new Operator('aten::zeros_like')
const onesLikeOp = new Operator('aten::ones_like')
const fullLikeOp = new Operator('aten::full_like')
const emptyLikeOp = new Operator('aten::empty_like')
const randLikeOp = new Operator('aten::rand_like')
const randnLikeOp = new Operator('aten::randn_like')
const catOp = new Operator('aten::cat')
const stackOp = new Operator('aten::stack')
const where_selfOp = new Operator('aten::where', 'self')
const einsumOp = new Operator('aten::einsum')
const searchsorted_TensorOp = new Operator('aten::searchsorted', 'Tensor')
const linearOp = new Operator('aten::linear')
const embeddingOp = new Operator('aten::embedding')
const layerNormOp = new Operator('aten::layer_norm')
const lstm_inputOp = new Operator('aten::lstm', 'input')
const dropoutOp = new Operator('aten::dropout')
const crossEntropyLossOp = new Operator('aten::cross_entropy_loss')
const nllLossOp = new Operator('aten::nll_loss')
const mseLossOp = new Operator('aten::mse_loss')
const foreachAdd__ListOp = new Operator('aten::_foreach_add_', 'List')
const foreachMul__ScalarOp = new Operator('aten::_foreach_mul_', 'Scalar')
const foreachSqrtOp = new Operator('aten::_foreach_sqrt')
const foreachNorm_ScalarOp = new Operator('aten::_foreach_norm', 'Scalar')
const foreachAddcmul__ScalarOp = new Operator('aten::_foreach_addcmul_', 'Scalar')
const foreachAddcdiv__ScalarOp = new Operator('aten::_foreach_addcdiv_', 'Scalar')
const switchyardLinearOp = new Operator('switchyard::linear')
const switchyardExpertsOp = new Operator('switchyard::experts')
const switchyardRouteOp = new Operator('switchyard::route')
const switchyardRmsNormOp = new Operator('switchyard::rms_norm')
const switchyardRotateOp = new Operator('switchyard::rotate')
const switchyardCausalAttentionOp = new Operator('switchyard::causal_attention')
const switchyardLinearCrossEntropyOp = new Operator('switchyard::linear_cross_entropy')
const switchyardAdamw_Op = new Operator('switchyard::adamw_')
const switchyardVectorNormOp = new Operator('switchyard::vector_norm')
const switchyardNewtonSchulzOp = new Operator('switchyard::newton_schulz')
const switchyardAdamwMixed_Op = new Operator('switchyard::adamw_mixed_')
const switchyardGradientNormOp = new Operator('switchyard::gradient_norm')
const switchyardAttentionDecodeOp = new Operator('switchyard::attention_decode')
const switchyardAttentionCachedOp = new Operator('switchyard::attention_cached')
const switchyardEncodedLinearOp = new Operator('switchyard::encoded_linear')
const switchyardEncodedPanelsOp = new Operator('switchyard::encoded_panels')
const switchyardEncodedRowsOp = new Operator('switchyard::encoded_rows')
const switchyardEncodedExpertsOp = new Operator('switchyard::encoded_experts')
const switchyardEncodedExpertRowsOp = new Operator('switchyard::encoded_expert_rows')
const switchyardSumChoicesOp = new Operator('switchyard::sum_choices')
const switchyardSteadyProductsOp = new Operator('switchyard::steady_products')
const switchyardStartReadOp = new Operator('switchyard::start_read')
const switchyardFinishReadOp = new Operator('switchyard::finish_read')
const switchyardPackedRowsOp = new Operator('switchyard::packed_rows')
const switchyardHurryReadOp = new Operator('switchyard::hurry_read')
const switchyardCancelReadOp = new Operator('switchyard::cancel_read')
const switchyardHasReadOp = new Operator('switchyard::has_read')
const switchyardDequantizeOp = new Operator('switchyard::dequantize')
const switchyardQuantizeOp = new Operator('switchyard::quantize')
const switchyardDequantizePairsOp = new Operator('switchyard::dequantize_pairs')
const switchyardDequantizeFloat8Op = new Operator('switchyard::dequantize_float8')

const wrap = (handle: Handle): Tensor => new Tensor(handle)

/** `aten::zeros(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function zeros(size: readonly number[], dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(zerosOp.id, size, dtype, undefined, device) as Handle)
}

/** `aten::ones(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function ones(size: readonly number[], dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(onesOp.id, size, dtype, undefined, device) as Handle)
}

/** `aten::full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function full(size: readonly number[], fillValue: Scalar, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(fullOp.id, size, fillValue, dtype, undefined, device) as Handle)
}

/** `aten::empty.memory_format(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function empty(size: readonly number[], dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(empty_memory_formatOp.id, size, dtype, undefined, device) as Handle)
}

/** `aten::arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function arange(start: Scalar, end_: Scalar, step?: Scalar, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(arange_start_stepOp.id, start, end_, step, dtype, undefined, device) as Handle)
}

/** `aten::linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function linspace(start: Scalar, end_: Scalar, steps: number, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(linspaceOp.id, start, end_, steps, dtype, undefined, device) as Handle)
}

/** `aten::eye.m(int n, int m, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function eye(n: number, m: number, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(eye_mOp.id, n, m, dtype, undefined, device) as Handle)
}

/** `aten::rand.generator(int[] size, *, Generator? generator, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function rand(size: readonly number[], generator?: Generator | null, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(rand_generatorOp.id, size, generator?.id ?? null, dtype, undefined, device) as Handle)
}

/** `aten::randn.generator(int[] size, *, Generator? generator, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randn(size: readonly number[], generator?: Generator | null, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(randn_generatorOp.id, size, generator?.id ?? null, dtype, undefined, device) as Handle)
}

/** `aten::randint.low_generator(int low, int high, int[] size, *, Generator? generator, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randint(low: number, high: number, size: readonly number[], generator?: Generator | null, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(randint_low_generatorOp.id, low, high, size, generator?.id ?? null, dtype, undefined, device) as Handle)
}

/** `aten::randperm.generator(int n, *, Generator? generator, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randperm(n: number, generator?: Generator | null, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(randperm_generatorOp.id, n, generator?.id ?? null, dtype, undefined, device) as Handle)
}

/** `aten::zeros_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function zerosLike(self: Tensor, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(zerosLikeOp.id, (self as Tensor).handle, dtype, undefined, device) as Handle)
}

/** `aten::ones_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function onesLike(self: Tensor, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(onesLikeOp.id, (self as Tensor).handle, dtype, undefined, device) as Handle)
}

/** `aten::full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function fullLike(self: Tensor, fillValue: Scalar, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(fullLikeOp.id, (self as Tensor).handle, fillValue, dtype, undefined, device) as Handle)
}

/** `aten::empty_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function emptyLike(self: Tensor, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(emptyLikeOp.id, (self as Tensor).handle, dtype, undefined, device) as Handle)
}

/** `aten::rand_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function randLike(self: Tensor, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(randLikeOp.id, (self as Tensor).handle, dtype, undefined, device) as Handle)
}

/** `aten::randn_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function randnLike(self: Tensor, dtype?: DType | null, device?: Device | null): Tensor {
  return wrap(call(randnLikeOp.id, (self as Tensor).handle, dtype, undefined, device) as Handle)
}

/** `aten::cat(Tensor[] tensors, int dim=0) -> Tensor` */
export function cat(tensors: readonly Tensor[], dim?: number): Tensor {
  return wrap(call(catOp.id, tensors.map(tensor => tensor.handle), dim) as Handle)
}

/** `aten::stack(Tensor[] tensors, int dim=0) -> Tensor` */
export function stack(tensors: readonly Tensor[], dim?: number): Tensor {
  return wrap(call(stackOp.id, tensors.map(tensor => tensor.handle), dim) as Handle)
}

/** `aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor` */
export function where(condition: Tensor, self: Tensor, other: Tensor): Tensor {
  return wrap(call(where_selfOp.id, (condition as Tensor).handle, (self as Tensor).handle, (other as Tensor).handle) as Handle)
}

/** `aten::einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor` */
export function einsum(equation: string, tensors: readonly Tensor[]): Tensor {
  return wrap(call(einsumOp.id, equation, tensors.map(tensor => tensor.handle)) as Handle)
}

/** `aten::searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor` */
export function searchsorted(sortedSequence: Tensor, self: Tensor, outInt32?: boolean, right?: boolean, side?: string | null, sorter?: Tensor | null): Tensor {
  return wrap(call(searchsorted_TensorOp.id, (sortedSequence as Tensor).handle, (self as Tensor).handle, outInt32, right, side, (sorter as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor` */
export function atenLinear(input: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  return wrap(call(linearOp.id, (input as Tensor).handle, (weight as Tensor).handle, (bias as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `aten::embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor` */
export function embedding(weight: Tensor, indices: Tensor, paddingIdx?: number, scaleGradByFreq?: boolean, sparse?: boolean): Tensor {
  return wrap(call(embeddingOp.id, (weight as Tensor).handle, (indices as Tensor).handle, paddingIdx, scaleGradByFreq, sparse) as Handle)
}

/** `aten::layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1.0000000000000001e-05, bool cudnn_enable=True) -> Tensor` */
export function layerNorm(input: Tensor, normalizedShape: readonly number[], weight?: Tensor | null, bias?: Tensor | null, eps?: number): Tensor {
  return wrap(call(layerNormOp.id, (input as Tensor).handle, normalizedShape, (weight as Tensor | null | undefined)?.handle ?? null, (bias as Tensor | null | undefined)?.handle ?? null, eps) as Handle)
}

/** `aten::lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)` */
export function lstm(input: Tensor, hx: readonly Tensor[], params: readonly Tensor[], hasBiases: boolean, numLayers: number, dropout: number, train: boolean, bidirectional: boolean, batchFirst: boolean): [Tensor, Tensor, Tensor] {
  return (call(lstm_inputOp.id, (input as Tensor).handle, hx.map(tensor => tensor.handle), params.map(tensor => tensor.handle), hasBiases, numLayers, dropout, train, bidirectional, batchFirst) as Handle[]).map(handle => wrap(handle)) as [Tensor, Tensor, Tensor]
}

/** `aten::dropout(Tensor input, float p, bool train) -> Tensor` */
export function dropout(input: Tensor, p: number, train: boolean): Tensor {
  return wrap(call(dropoutOp.id, (input as Tensor).handle, p, train) as Handle)
}

/** `aten::cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100, float label_smoothing=0.) -> Tensor` */
export function crossEntropyLoss(self: Tensor, target: Tensor, weight?: Tensor | null, reduction?: number, ignoreIndex?: number, labelSmoothing?: number): Tensor {
  return wrap(call(crossEntropyLossOp.id, (self as Tensor).handle, (target as Tensor).handle, (weight as Tensor | null | undefined)?.handle ?? null, reduction, ignoreIndex, labelSmoothing) as Handle)
}

/** `aten::nll_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int ignore_index=-100) -> Tensor` */
export function nllLoss(self: Tensor, target: Tensor, weight?: Tensor | null, reduction?: number, ignoreIndex?: number): Tensor {
  return wrap(call(nllLossOp.id, (self as Tensor).handle, (target as Tensor).handle, (weight as Tensor | null | undefined)?.handle ?? null, reduction, ignoreIndex) as Handle)
}

/** `aten::mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor` */
export function mseLoss(self: Tensor, target: Tensor, reduction?: number): Tensor {
  return wrap(call(mseLossOp.id, (self as Tensor).handle, (target as Tensor).handle, reduction) as Handle)
}

/** `aten::_foreach_add_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()` */
export function foreachAdd_(self: readonly Tensor[], other: readonly Tensor[], alpha?: Scalar): void {
  return void call(foreachAdd__ListOp.id, self.map(tensor => tensor.handle), other.map(tensor => tensor.handle), alpha)
}

/** `aten::_foreach_mul_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()` */
export function foreachMul_(self: readonly Tensor[], scalar: Scalar): void {
  return void call(foreachMul__ScalarOp.id, self.map(tensor => tensor.handle), scalar)
}

/** `aten::_foreach_sqrt(Tensor[] self) -> Tensor[]` */
export function foreachSqrt(self: readonly Tensor[]): Tensor[] {
  return (call(foreachSqrtOp.id, self.map(tensor => tensor.handle)) as Handle[]).map(handle => wrap(handle))
}

/** `aten::_foreach_norm.Scalar(Tensor[] self, Scalar ord=2) -> Tensor[]` */
export function foreachNorm(self: readonly Tensor[], ord?: Scalar): Tensor[] {
  return (call(foreachNorm_ScalarOp.id, self.map(tensor => tensor.handle), ord) as Handle[]).map(handle => wrap(handle))
}

/** `aten::_foreach_addcmul_.Scalar(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, Scalar value=1) -> ()` */
export function foreachAddcmul_(self: readonly Tensor[], tensor1: readonly Tensor[], tensor2: readonly Tensor[], value?: Scalar): void {
  return void call(foreachAddcmul__ScalarOp.id, self.map(tensor => tensor.handle), tensor1.map(tensor => tensor.handle), tensor2.map(tensor => tensor.handle), value)
}

/** `aten::_foreach_addcdiv_.Scalar(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, Scalar value=1) -> ()` */
export function foreachAddcdiv_(self: readonly Tensor[], tensor1: readonly Tensor[], tensor2: readonly Tensor[], value?: Scalar): void {
  return void call(foreachAddcdiv__ScalarOp.id, self.map(tensor => tensor.handle), tensor1.map(tensor => tensor.handle), tensor2.map(tensor => tensor.handle), value)
}

/** `switchyard::linear(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor` */
export function fusedLinear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  return wrap(call(switchyardLinearOp.id, (x as Tensor).handle, (weight as Tensor).handle, (bias as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `switchyard::experts(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) -> Tensor` */
export function fusedExperts(x: Tensor, indices: Tensor, weights: Tensor, up: Tensor, down: Tensor, activation: string, gated: boolean): Tensor {
  return wrap(call(switchyardExpertsOp.id, (x as Tensor).handle, (indices as Tensor).handle, (weights as Tensor).handle, (up as Tensor).handle, (down as Tensor).handle, activation, gated) as Handle)
}

/** `switchyard::route(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)` */
export function fusedRoute(logits: Tensor, k: number, normalize: boolean): [Tensor, Tensor, Tensor] {
  return (call(switchyardRouteOp.id, (logits as Tensor).handle, k, normalize) as Handle[]).map(handle => wrap(handle)) as [Tensor, Tensor, Tensor]
}

/** `switchyard::rms_norm(Tensor x, Tensor weight, float eps) -> Tensor` */
export function fusedRmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  return wrap(call(switchyardRmsNormOp.id, (x as Tensor).handle, (weight as Tensor).handle, eps) as Handle)
}

/** `switchyard::rotate(Tensor x, Tensor cos, Tensor sin) -> Tensor` */
export function fusedRotate(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  return wrap(call(switchyardRotateOp.id, (x as Tensor).handle, (cos as Tensor).handle, (sin as Tensor).handle) as Handle)
}

/** `switchyard::causal_attention(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, int? window=None) -> Tensor` */
export function fusedCausalAttention(queries: Tensor, keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor, headDim: number, window?: number | null): Tensor {
  return wrap(call(switchyardCausalAttentionOp.id, (queries as Tensor).handle, (keys as Tensor).handle, (values as Tensor).handle, (cos as Tensor).handle, (sin as Tensor).handle, headDim, window) as Handle)
}

/** `switchyard::linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, int ignored=-100) -> Tensor` */
export function fusedLinearCrossEntropy(hidden: Tensor, weight: Tensor, targets: Tensor, ignored?: number): Tensor {
  return wrap(call(switchyardLinearCrossEntropyOp.id, (hidden as Tensor).handle, (weight as Tensor).handle, (targets as Tensor).handle, ignored) as Handle)
}

/** `switchyard::adamw_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, float gradient_factor=1.) -> ()` */
export function fusedAdamw_(parameters: readonly Tensor[], gradients: readonly Tensor[], means: readonly Tensor[], squares: readonly Tensor[], learningRate: number, beta1: number, beta2: number, epsilon: number, weightDecay: number, step: number, gradientFactor?: number): void {
  return void call(switchyardAdamw_Op.id, parameters.map(tensor => tensor.handle), gradients.map(tensor => tensor.handle), means.map(tensor => tensor.handle), squares.map(tensor => tensor.handle), learningRate, beta1, beta2, epsilon, weightDecay, step, gradientFactor)
}

/** `switchyard::vector_norm(Tensor[] tensors) -> float` */
export function vectorNorm(tensors: readonly Tensor[]): number {
  return call(switchyardVectorNormOp.id, tensors.map(tensor => tensor.handle)) as number
}

/** `switchyard::newton_schulz(Tensor matrices, float a, float b, float c, int iterations) -> Tensor` */
export function newtonSchulz(matrices: Tensor, a: number, b: number, c: number, iterations: number): Tensor {
  return wrap(call(switchyardNewtonSchulzOp.id, (matrices as Tensor).handle, a, b, c, iterations) as Handle)
}

/** `switchyard::adamw_mixed_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, Tensor(d!)[] masters, Tensor settings, Tensor norm, float clip) -> ()` */
export function mixedAdamw_(parameters: readonly Tensor[], gradients: readonly Tensor[], means: readonly Tensor[], squares: readonly Tensor[], masters: readonly Tensor[], settings: Tensor, norm: Tensor, clip: number): void {
  return void call(switchyardAdamwMixed_Op.id, parameters.map(tensor => tensor.handle), gradients.map(tensor => tensor.handle), means.map(tensor => tensor.handle), squares.map(tensor => tensor.handle), masters.map(tensor => tensor.handle), (settings as Tensor).handle, (norm as Tensor).handle, clip)
}

/** `switchyard::gradient_norm(Tensor[] gradients) -> Tensor` */
export function deviceNorm(gradients: readonly Tensor[]): Tensor {
  return wrap(call(switchyardGradientNormOp.id, gradients.map(tensor => tensor.handle)) as Handle)
}

/** `switchyard::attention_decode(Tensor queries, Tensor keys, Tensor values, Tensor lengths, float scale, int window=0) -> Tensor` */
export function attentionDecode(queries: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, scale: number, window?: number): Tensor {
  return wrap(call(switchyardAttentionDecodeOp.id, (queries as Tensor).handle, (keys as Tensor).handle, (values as Tensor).handle, (lengths as Tensor).handle, scale, window) as Handle)
}

/** `switchyard::attention_cached(Tensor queries, Tensor keys, Tensor values, int[] starts, Tensor lengths, Tensor pages, float scale, int window=0, Tensor? sinks=None) -> Tensor` */
export function attentionCached(queries: Tensor, keys: Tensor, values: Tensor, starts: readonly number[], lengths: Tensor, pages: Tensor, scale: number, window?: number, sinks?: Tensor | null): Tensor {
  return wrap(call(switchyardAttentionCachedOp.id, (queries as Tensor).handle, (keys as Tensor).handle, (values as Tensor).handle, starts, (lengths as Tensor).handle, (pages as Tensor).handle, scale, window, (sinks as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `switchyard::encoded_linear(Tensor x, Tensor rows, str type, int outputs, Tensor? bias=None) -> Tensor` */
export function encodedLinear(x: Tensor, rows: Tensor, type: string, outputs: number, bias?: Tensor | null): Tensor {
  return wrap(call(switchyardEncodedLinearOp.id, (x as Tensor).handle, (rows as Tensor).handle, type, outputs, (bias as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `switchyard::encoded_panels(Tensor rows, str type, Tensor(a!) panels) -> ()` */
export function encodedPanels(rows: Tensor, type: string, panels: Tensor): void {
  return void call(switchyardEncodedPanelsOp.id, (rows as Tensor).handle, type, (panels as Tensor).handle)
}

/** `switchyard::encoded_rows(Tensor rows, str type, Tensor indices) -> Tensor` */
export function encodedRows(rows: Tensor, type: string, indices: Tensor): Tensor {
  return wrap(call(switchyardEncodedRowsOp.id, (rows as Tensor).handle, type, (indices as Tensor).handle) as Handle)
}

/** `switchyard::encoded_experts(Tensor x, Tensor indices, Tensor places, Tensor weights, Tensor up, str up_type, Tensor down, str down_type, str activation, bool gated, float limit, Tensor? up_bias=None, Tensor? down_bias=None) -> Tensor` */
export function encodedExperts(x: Tensor, indices: Tensor, places: Tensor, weights: Tensor, up: Tensor, upType: string, down: Tensor, downType: string, activation: string, gated: boolean, limit: number, upBias?: Tensor | null, downBias?: Tensor | null): Tensor {
  return wrap(call(switchyardEncodedExpertsOp.id, (x as Tensor).handle, (indices as Tensor).handle, (places as Tensor).handle, (weights as Tensor).handle, (up as Tensor).handle, upType, (down as Tensor).handle, downType, activation, gated, limit, (upBias as Tensor | null | undefined)?.handle ?? null, (downBias as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `switchyard::encoded_expert_rows(Tensor x, Tensor indices, Tensor places, Tensor(a!) rows, Tensor up, str up_type, Tensor down, str down_type, str activation, bool gated, float limit, Tensor? up_bias=None, Tensor? down_bias=None) -> ()` */
export function encodedExpertRows(x: Tensor, indices: Tensor, places: Tensor, rows: Tensor, up: Tensor, upType: string, down: Tensor, downType: string, activation: string, gated: boolean, limit: number, upBias?: Tensor | null, downBias?: Tensor | null): void {
  return void call(switchyardEncodedExpertRowsOp.id, (x as Tensor).handle, (indices as Tensor).handle, (places as Tensor).handle, (rows as Tensor).handle, (up as Tensor).handle, upType, (down as Tensor).handle, downType, activation, gated, limit, (upBias as Tensor | null | undefined)?.handle ?? null, (downBias as Tensor | null | undefined)?.handle ?? null)
}

/** `switchyard::sum_choices(Tensor rows, Tensor indices, Tensor weights) -> Tensor` */
export function sumChoices(rows: Tensor, indices: Tensor, weights: Tensor): Tensor {
  return wrap(call(switchyardSumChoicesOp.id, (rows as Tensor).handle, (indices as Tensor).handle, (weights as Tensor).handle) as Handle)
}

/** `switchyard::steady_products(Tensor x, Tensor w) -> Tensor` */
export function steadyProducts(x: Tensor, w: Tensor): Tensor {
  return wrap(call(switchyardSteadyProductsOp.id, (x as Tensor).handle, (w as Tensor).handle) as Handle)
}

/** `switchyard::start_read(Tensor to, str type, str packing, bool alternating, int[] files, int[] offsets, int[] bytes, int urgency=0) -> int` */
export function startRead(to_: Tensor, type: string, packing: string, alternating: boolean, files: readonly number[], offsets: readonly number[], bytes: readonly number[], urgency?: number): number {
  return call(switchyardStartReadOp.id, (to_ as Tensor).handle, type, packing, alternating, files, offsets, bytes, urgency) as number
}

/** `switchyard::finish_read(int ticket) -> ()` */
export function finishRead(ticket: number): void {
  return void call(switchyardFinishReadOp.id, ticket)
}

/** `switchyard::packed_rows(Tensor values, Tensor scales, str packing) -> Tensor` */
export function packedRows(values: Tensor, scales: Tensor, packing: string): Tensor {
  return wrap(call(switchyardPackedRowsOp.id, (values as Tensor).handle, (scales as Tensor).handle, packing) as Handle)
}

/** `switchyard::hurry_read(int ticket) -> ()` */
export function hurryRead(ticket: number): void {
  return void call(switchyardHurryReadOp.id, ticket)
}

/** `switchyard::cancel_read(int ticket) -> bool` */
export function cancelRead(ticket: number): boolean {
  return call(switchyardCancelReadOp.id, ticket) as boolean
}

/** `switchyard::has_read(int ticket) -> bool` */
export function hasRead(ticket: number): boolean {
  return call(switchyardHasReadOp.id, ticket) as boolean
}

/** `switchyard::dequantize(Tensor bytes, str type) -> Tensor` */
export function dequantizeBlocks(bytes: Tensor, type: string): Tensor {
  return wrap(call(switchyardDequantizeOp.id, (bytes as Tensor).handle, type) as Handle)
}

/** `switchyard::quantize(Tensor values, str type, Tensor? importance=None) -> Tensor` */
export function quantizeBlocks(values: Tensor, type: string, importance?: Tensor | null): Tensor {
  return wrap(call(switchyardQuantizeOp.id, (values as Tensor).handle, type, (importance as Tensor | null | undefined)?.handle ?? null) as Handle)
}

/** `switchyard::dequantize_pairs(Tensor blocks, Tensor scales) -> Tensor` */
export function dequantizePairs(blocks: Tensor, scales: Tensor): Tensor {
  return wrap(call(switchyardDequantizePairsOp.id, (blocks as Tensor).handle, (scales as Tensor).handle) as Handle)
}

/** `switchyard::dequantize_float8(Tensor bytes, Tensor scales) -> Tensor` */
export function dequantizeFloat8(bytes: Tensor, scales: Tensor): Tensor {
  return wrap(call(switchyardDequantizeFloat8Op.id, (bytes as Tensor).handle, (scales as Tensor).handle) as Handle)
}
