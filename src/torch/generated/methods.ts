// DO NOT EDIT: made by `npm run gen` from scripts/gen/operators.txt and the schemas of libtorch 1.13.

import type { DType, Device, Scalar } from '../dtype.ts'
import type { Generator } from '../generator.ts'
import { call, type Handle } from '../native.ts'
import { Operator } from '../operator.ts'
import type { Tensor } from '../tensor.ts'

const add_TensorOp = new Operator('aten::add', 'Tensor')
const add_ScalarOp = new Operator('aten::add', 'Scalar')
const add__TensorOp = new Operator('aten::add_', 'Tensor')
const add__ScalarOp = new Operator('aten::add_', 'Scalar')
const sub_TensorOp = new Operator('aten::sub', 'Tensor')
const sub_ScalarOp = new Operator('aten::sub', 'Scalar')
const sub__TensorOp = new Operator('aten::sub_', 'Tensor')
const sub__ScalarOp = new Operator('aten::sub_', 'Scalar')
const rsub_TensorOp = new Operator('aten::rsub', 'Tensor')
const rsub_ScalarOp = new Operator('aten::rsub', 'Scalar')
const mul_TensorOp = new Operator('aten::mul', 'Tensor')
const mul_ScalarOp = new Operator('aten::mul', 'Scalar')
const mul__TensorOp = new Operator('aten::mul_', 'Tensor')
const mul__ScalarOp = new Operator('aten::mul_', 'Scalar')
const div_TensorOp = new Operator('aten::div', 'Tensor')
const div_ScalarOp = new Operator('aten::div', 'Scalar')
const div__TensorOp = new Operator('aten::div_', 'Tensor')
const div__ScalarOp = new Operator('aten::div_', 'Scalar')
const floorDivideOp = new Operator('aten::floor_divide')
const floorDivide_ScalarOp = new Operator('aten::floor_divide', 'Scalar')
const remainder_TensorOp = new Operator('aten::remainder', 'Tensor')
const remainder_ScalarOp = new Operator('aten::remainder', 'Scalar')
const pow_Tensor_TensorOp = new Operator('aten::pow', 'Tensor_Tensor')
const pow_Tensor_ScalarOp = new Operator('aten::pow', 'Tensor_Scalar')
const pow__TensorOp = new Operator('aten::pow_', 'Tensor')
const pow__ScalarOp = new Operator('aten::pow_', 'Scalar')
const negOp = new Operator('aten::neg')
const neg_Op = new Operator('aten::neg_')
const absOp = new Operator('aten::abs')
const signOp = new Operator('aten::sign')
const reciprocalOp = new Operator('aten::reciprocal')
const squareOp = new Operator('aten::square')
const sqrtOp = new Operator('aten::sqrt')
const sqrt_Op = new Operator('aten::sqrt_')
const rsqrtOp = new Operator('aten::rsqrt')
const expOp = new Operator('aten::exp')
const exp_Op = new Operator('aten::exp_')
const logOp = new Operator('aten::log')
const log1pOp = new Operator('aten::log1p')
const sinOp = new Operator('aten::sin')
const cosOp = new Operator('aten::cos')
const floorOp = new Operator('aten::floor')
const ceilOp = new Operator('aten::ceil')
const roundOp = new Operator('aten::round')
const clampOp = new Operator('aten::clamp')
const clamp_Op = new Operator('aten::clamp_')
const maximumOp = new Operator('aten::maximum')
const minimumOp = new Operator('aten::minimum')
const addcmulOp = new Operator('aten::addcmul')
const addcmul_Op = new Operator('aten::addcmul_')
const addcdivOp = new Operator('aten::addcdiv')
const addcdiv_Op = new Operator('aten::addcdiv_')
const lerp_TensorOp = new Operator('aten::lerp', 'Tensor')
const lerp_ScalarOp = new Operator('aten::lerp', 'Scalar')
const lerp__TensorOp = new Operator('aten::lerp_', 'Tensor')
const lerp__ScalarOp = new Operator('aten::lerp_', 'Scalar')
const eq_TensorOp = new Operator('aten::eq', 'Tensor')
const eq_ScalarOp = new Operator('aten::eq', 'Scalar')
const ne_TensorOp = new Operator('aten::ne', 'Tensor')
const ne_ScalarOp = new Operator('aten::ne', 'Scalar')
const lt_TensorOp = new Operator('aten::lt', 'Tensor')
const lt_ScalarOp = new Operator('aten::lt', 'Scalar')
const le_TensorOp = new Operator('aten::le', 'Tensor')
const le_ScalarOp = new Operator('aten::le', 'Scalar')
const gt_TensorOp = new Operator('aten::gt', 'Tensor')
const gt_ScalarOp = new Operator('aten::gt', 'Scalar')
const ge_TensorOp = new Operator('aten::ge', 'Tensor')
const ge_ScalarOp = new Operator('aten::ge', 'Scalar')
const equalOp = new Operator('aten::equal')
const allcloseOp = new Operator('aten::allclose')
const iscloseOp = new Operator('aten::isclose')
const isnanOp = new Operator('aten::isnan')
const isinfOp = new Operator('aten::isinf')
const isfiniteOp = new Operator('aten::isfinite')
const logicalAndOp = new Operator('aten::logical_and')
const logicalOrOp = new Operator('aten::logical_or')
const logicalOr_Op = new Operator('aten::logical_or_')
const logicalXorOp = new Operator('aten::logical_xor')
const logicalNotOp = new Operator('aten::logical_not')
const reluOp = new Operator('aten::relu')
const relu_Op = new Operator('aten::relu_')
const geluOp = new Operator('aten::gelu')
const siluOp = new Operator('aten::silu')
const sigmoidOp = new Operator('aten::sigmoid')
const softplusOp = new Operator('aten::softplus')
const tanhOp = new Operator('aten::tanh')
const erfOp = new Operator('aten::erf')
const erfinvOp = new Operator('aten::erfinv')
const erfinv_Op = new Operator('aten::erfinv_')
const softmax_intOp = new Operator('aten::softmax', 'int')
const logSoftmax_intOp = new Operator('aten::log_softmax', 'int')
const sum_dim_IntListOp = new Operator('aten::sum', 'dim_IntList')
const mean_dimOp = new Operator('aten::mean', 'dim')
const prod_dim_intOp = new Operator('aten::prod', 'dim_int')
const amaxOp = new Operator('aten::amax')
const aminOp = new Operator('aten::amin')
const maxOp = new Operator('aten::max')
const max_dimOp = new Operator('aten::max', 'dim')
const minOp = new Operator('aten::min')
const min_dimOp = new Operator('aten::min', 'dim')
const argmaxOp = new Operator('aten::argmax')
const argminOp = new Operator('aten::argmin')
const var_correctionOp = new Operator('aten::var', 'correction')
const std_correctionOp = new Operator('aten::std', 'correction')
const linalgVectorNormOp = new Operator('aten::linalg_vector_norm')
const linalgInvOp = new Operator('aten::linalg_inv')
const linalgCholeskyOp = new Operator('aten::linalg_cholesky')
const logsumexpOp = new Operator('aten::logsumexp')
const anyOp = new Operator('aten::any')
const any_dimOp = new Operator('aten::any', 'dim')
const allOp = new Operator('aten::all')
const all_dimOp = new Operator('aten::all', 'dim')
const cumsumOp = new Operator('aten::cumsum')
const cumprodOp = new Operator('aten::cumprod')
const countNonzero_dim_IntListOp = new Operator('aten::count_nonzero', 'dim_IntList')
const select_intOp = new Operator('aten::select', 'int')
const slice_TensorOp = new Operator('aten::slice', 'Tensor')
const narrowOp = new Operator('aten::narrow')
const index_TensorOp = new Operator('aten::index', 'Tensor')
const indexSelectOp = new Operator('aten::index_select')
const indexAddOp = new Operator('aten::index_add')
const indexAdd_Op = new Operator('aten::index_add_')
const indexCopy_Op = new Operator('aten::index_copy_')
const indexPutOp = new Operator('aten::index_put')
const indexPut_Op = new Operator('aten::index_put_')
const gatherOp = new Operator('aten::gather')
const scatter_srcOp = new Operator('aten::scatter', 'src')
const scatter_valueOp = new Operator('aten::scatter', 'value')
const scatter__srcOp = new Operator('aten::scatter_', 'src')
const scatter__valueOp = new Operator('aten::scatter_', 'value')
const scatterAddOp = new Operator('aten::scatter_add')
const scatterAdd_Op = new Operator('aten::scatter_add_')
const maskedFill_TensorOp = new Operator('aten::masked_fill', 'Tensor')
const maskedFill_ScalarOp = new Operator('aten::masked_fill', 'Scalar')
const maskedFill__TensorOp = new Operator('aten::masked_fill_', 'Tensor')
const maskedFill__ScalarOp = new Operator('aten::masked_fill_', 'Scalar')
const maskedSelectOp = new Operator('aten::masked_select')
const takeOp = new Operator('aten::take')
const nonzeroOp = new Operator('aten::nonzero')
const topkOp = new Operator('aten::topk')
const sort_stableOp = new Operator('aten::sort', 'stable')
const argsort_stableOp = new Operator('aten::argsort', 'stable')
const bincountOp = new Operator('aten::bincount')
const trilOp = new Operator('aten::tril')
const triuOp = new Operator('aten::triu')
const diagonalOp = new Operator('aten::diagonal')
const oneHotOp = new Operator('aten::one_hot')
const flipOp = new Operator('aten::flip')
const rollOp = new Operator('aten::roll')
const viewOp = new Operator('aten::view')
const view_dtypeOp = new Operator('aten::view', 'dtype')
const reshapeOp = new Operator('aten::reshape')
const flatten_using_intsOp = new Operator('aten::flatten', 'using_ints')
const permuteOp = new Operator('aten::permute')
const transpose_intOp = new Operator('aten::transpose', 'int')
const tOp = new Operator('aten::t')
const movedim_intOp = new Operator('aten::movedim', 'int')
const unsqueezeOp = new Operator('aten::unsqueeze')
const squeezeOp = new Operator('aten::squeeze')
const squeeze_dimOp = new Operator('aten::squeeze', 'dim')
const expandOp = new Operator('aten::expand')
const expandAsOp = new Operator('aten::expand_as')
const repeatOp = new Operator('aten::repeat')
const repeatInterleave_self_TensorOp = new Operator('aten::repeat_interleave', 'self_Tensor')
const repeatInterleave_self_intOp = new Operator('aten::repeat_interleave', 'self_int')
const contiguousOp = new Operator('aten::contiguous')
const unbind_intOp = new Operator('aten::unbind', 'int')
const split_TensorOp = new Operator('aten::split', 'Tensor')
const splitWithSizesOp = new Operator('aten::split_with_sizes')
const chunkOp = new Operator('aten::chunk')
const unfoldOp = new Operator('aten::unfold')
const matmulOp = new Operator('aten::matmul')
const mmOp = new Operator('aten::mm')
const bmmOp = new Operator('aten::bmm')
const addmmOp = new Operator('aten::addmm')
const baddbmmOp = new Operator('aten::baddbmm')
const outerOp = new Operator('aten::outer')
const dotOp = new Operator('aten::dot')
const cloneOp = new Operator('aten::clone')
const copy_Op = new Operator('aten::copy_')
const fill__TensorOp = new Operator('aten::fill_', 'Tensor')
const fill__ScalarOp = new Operator('aten::fill_', 'Scalar')
const zero_Op = new Operator('aten::zero_')
const normal_Op = new Operator('aten::normal_')
const uniform_Op = new Operator('aten::uniform_')
const bernoulli__floatOp = new Operator('aten::bernoulli_', 'float')
const multinomialOp = new Operator('aten::multinomial')
const detachOp = new Operator('aten::detach')
const requiresGrad_Op = new Operator('aten::requires_grad_')
const retainGradOp = new Operator('aten::retain_grad')
const setDataOp = new Operator('aten::set_data')
const toCopyOp = new Operator('aten::_to_copy')

/** libtorch's operators whose first argument is a tensor. */
export abstract class TensorMethods {
  abstract readonly handle: Handle

  protected abstract wrap(handle: Handle): Tensor

  /** `aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`
   *  `aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor` */
  add(other: Tensor | Scalar, alpha?: Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(add_TensorOp.id, this.handle, (other as Tensor).handle, alpha) as Handle)
    return this.wrap(call(add_ScalarOp.id, this.handle, other, alpha) as Handle)
  }

  /** `aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)`
   *  `aten::add_.Scalar(Tensor(a!) self, Scalar other, Scalar alpha=1) -> Tensor(a!)` */
  add_(other: Tensor | Scalar, alpha?: Scalar): this {
    if (typeof other === 'object') return (call(add__TensorOp.id, this.handle, (other as Tensor).handle, alpha), this)
    return (call(add__ScalarOp.id, this.handle, other, alpha), this)
  }

  /** `aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`
   *  `aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor` */
  sub(other: Tensor | Scalar, alpha?: Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(sub_TensorOp.id, this.handle, (other as Tensor).handle, alpha) as Handle)
    return this.wrap(call(sub_ScalarOp.id, this.handle, other, alpha) as Handle)
  }

  /** `aten::sub_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)`
   *  `aten::sub_.Scalar(Tensor(a!) self, Scalar other, Scalar alpha=1) -> Tensor(a!)` */
  sub_(other: Tensor | Scalar, alpha?: Scalar): this {
    if (typeof other === 'object') return (call(sub__TensorOp.id, this.handle, (other as Tensor).handle, alpha), this)
    return (call(sub__ScalarOp.id, this.handle, other, alpha), this)
  }

  /** `aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`
   *  `aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor` */
  rsub(other: Tensor | Scalar, alpha?: Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(rsub_TensorOp.id, this.handle, (other as Tensor).handle, alpha) as Handle)
    return this.wrap(call(rsub_ScalarOp.id, this.handle, other, alpha) as Handle)
  }

  /** `aten::mul.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::mul.Scalar(Tensor self, Scalar other) -> Tensor` */
  mul(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(mul_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(mul_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::mul_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)`
   *  `aten::mul_.Scalar(Tensor(a!) self, Scalar other) -> Tensor(a!)` */
  mul_(other: Tensor | Scalar): this {
    if (typeof other === 'object') return (call(mul__TensorOp.id, this.handle, (other as Tensor).handle), this)
    return (call(mul__ScalarOp.id, this.handle, other), this)
  }

  /** `aten::div.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::div.Scalar(Tensor self, Scalar other) -> Tensor` */
  div(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(div_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(div_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::div_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)`
   *  `aten::div_.Scalar(Tensor(a!) self, Scalar other) -> Tensor(a!)` */
  div_(other: Tensor | Scalar): this {
    if (typeof other === 'object') return (call(div__TensorOp.id, this.handle, (other as Tensor).handle), this)
    return (call(div__ScalarOp.id, this.handle, other), this)
  }

  /** `aten::floor_divide(Tensor self, Tensor other) -> Tensor`
   *  `aten::floor_divide.Scalar(Tensor self, Scalar other) -> Tensor` */
  floorDivide(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(floorDivideOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(floorDivide_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::remainder.Scalar(Tensor self, Scalar other) -> Tensor` */
  remainder(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(remainder_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(remainder_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor`
   *  `aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor` */
  pow(exponent: Tensor | Scalar): Tensor {
    if (typeof exponent === 'object') return this.wrap(call(pow_Tensor_TensorOp.id, this.handle, (exponent as Tensor).handle) as Handle)
    return this.wrap(call(pow_Tensor_ScalarOp.id, this.handle, exponent) as Handle)
  }

  /** `aten::pow_.Tensor(Tensor(a!) self, Tensor exponent) -> Tensor(a!)`
   *  `aten::pow_.Scalar(Tensor(a!) self, Scalar exponent) -> Tensor(a!)` */
  pow_(exponent: Tensor | Scalar): this {
    if (typeof exponent === 'object') return (call(pow__TensorOp.id, this.handle, (exponent as Tensor).handle), this)
    return (call(pow__ScalarOp.id, this.handle, exponent), this)
  }

  /** `aten::neg(Tensor self) -> Tensor` */
  neg(): Tensor {
    return this.wrap(call(negOp.id, this.handle) as Handle)
  }

  /** `aten::neg_(Tensor(a!) self) -> Tensor(a!)` */
  neg_(): this {
    return (call(neg_Op.id, this.handle), this)
  }

  /** `aten::abs(Tensor self) -> Tensor` */
  abs(): Tensor {
    return this.wrap(call(absOp.id, this.handle) as Handle)
  }

  /** `aten::sign(Tensor self) -> Tensor` */
  sign(): Tensor {
    return this.wrap(call(signOp.id, this.handle) as Handle)
  }

  /** `aten::reciprocal(Tensor self) -> Tensor` */
  reciprocal(): Tensor {
    return this.wrap(call(reciprocalOp.id, this.handle) as Handle)
  }

  /** `aten::square(Tensor self) -> Tensor` */
  square(): Tensor {
    return this.wrap(call(squareOp.id, this.handle) as Handle)
  }

  /** `aten::sqrt(Tensor self) -> Tensor` */
  sqrt(): Tensor {
    return this.wrap(call(sqrtOp.id, this.handle) as Handle)
  }

  /** `aten::sqrt_(Tensor(a!) self) -> Tensor(a!)` */
  sqrt_(): this {
    return (call(sqrt_Op.id, this.handle), this)
  }

  /** `aten::rsqrt(Tensor self) -> Tensor` */
  rsqrt(): Tensor {
    return this.wrap(call(rsqrtOp.id, this.handle) as Handle)
  }

  /** `aten::exp(Tensor self) -> Tensor` */
  exp(): Tensor {
    return this.wrap(call(expOp.id, this.handle) as Handle)
  }

  /** `aten::exp_(Tensor(a!) self) -> Tensor(a!)` */
  exp_(): this {
    return (call(exp_Op.id, this.handle), this)
  }

  /** `aten::log(Tensor self) -> Tensor` */
  log(): Tensor {
    return this.wrap(call(logOp.id, this.handle) as Handle)
  }

  /** `aten::log1p(Tensor self) -> Tensor` */
  log1p(): Tensor {
    return this.wrap(call(log1pOp.id, this.handle) as Handle)
  }

  /** `aten::sin(Tensor self) -> Tensor` */
  sin(): Tensor {
    return this.wrap(call(sinOp.id, this.handle) as Handle)
  }

  /** `aten::cos(Tensor self) -> Tensor` */
  cos(): Tensor {
    return this.wrap(call(cosOp.id, this.handle) as Handle)
  }

  /** `aten::floor(Tensor self) -> Tensor` */
  floor(): Tensor {
    return this.wrap(call(floorOp.id, this.handle) as Handle)
  }

  /** `aten::ceil(Tensor self) -> Tensor` */
  ceil(): Tensor {
    return this.wrap(call(ceilOp.id, this.handle) as Handle)
  }

  /** `aten::round(Tensor self) -> Tensor` */
  round(): Tensor {
    return this.wrap(call(roundOp.id, this.handle) as Handle)
  }

  /** `aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor` */
  clamp(min?: Scalar | null, max?: Scalar | null): Tensor {
    return this.wrap(call(clampOp.id, this.handle, min, max) as Handle)
  }

  /** `aten::clamp_(Tensor(a!) self, Scalar? min=None, Scalar? max=None) -> Tensor(a!)` */
  clamp_(min?: Scalar | null, max?: Scalar | null): this {
    return (call(clamp_Op.id, this.handle, min, max), this)
  }

  /** `aten::maximum(Tensor self, Tensor other) -> Tensor` */
  maximum(other: Tensor): Tensor {
    return this.wrap(call(maximumOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::minimum(Tensor self, Tensor other) -> Tensor` */
  minimum(other: Tensor): Tensor {
    return this.wrap(call(minimumOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor` */
  addcmul(tensor1: Tensor, tensor2: Tensor, value?: Scalar): Tensor {
    return this.wrap(call(addcmulOp.id, this.handle, (tensor1 as Tensor).handle, (tensor2 as Tensor).handle, value) as Handle)
  }

  /** `aten::addcmul_(Tensor(a!) self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor(a!)` */
  addcmul_(tensor1: Tensor, tensor2: Tensor, value?: Scalar): this {
    return (call(addcmul_Op.id, this.handle, (tensor1 as Tensor).handle, (tensor2 as Tensor).handle, value), this)
  }

  /** `aten::addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor` */
  addcdiv(tensor1: Tensor, tensor2: Tensor, value?: Scalar): Tensor {
    return this.wrap(call(addcdivOp.id, this.handle, (tensor1 as Tensor).handle, (tensor2 as Tensor).handle, value) as Handle)
  }

  /** `aten::addcdiv_(Tensor(a!) self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor(a!)` */
  addcdiv_(tensor1: Tensor, tensor2: Tensor, value?: Scalar): this {
    return (call(addcdiv_Op.id, this.handle, (tensor1 as Tensor).handle, (tensor2 as Tensor).handle, value), this)
  }

  /** `aten::lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor`
   *  `aten::lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor` */
  lerp(end_: Tensor, weight: Tensor | Scalar): Tensor {
    if (typeof weight === 'object') return this.wrap(call(lerp_TensorOp.id, this.handle, (end_ as Tensor).handle, (weight as Tensor).handle) as Handle)
    return this.wrap(call(lerp_ScalarOp.id, this.handle, (end_ as Tensor).handle, weight) as Handle)
  }

  /** `aten::lerp_.Tensor(Tensor(a!) self, Tensor end, Tensor weight) -> Tensor(a!)`
   *  `aten::lerp_.Scalar(Tensor(a!) self, Tensor end, Scalar weight) -> Tensor(a!)` */
  lerp_(end_: Tensor, weight: Tensor | Scalar): this {
    if (typeof weight === 'object') return (call(lerp__TensorOp.id, this.handle, (end_ as Tensor).handle, (weight as Tensor).handle), this)
    return (call(lerp__ScalarOp.id, this.handle, (end_ as Tensor).handle, weight), this)
  }

  /** `aten::eq.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::eq.Scalar(Tensor self, Scalar other) -> Tensor` */
  eq(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(eq_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(eq_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::ne.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::ne.Scalar(Tensor self, Scalar other) -> Tensor` */
  ne(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(ne_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(ne_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::lt.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::lt.Scalar(Tensor self, Scalar other) -> Tensor` */
  lt(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(lt_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(lt_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::le.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::le.Scalar(Tensor self, Scalar other) -> Tensor` */
  le(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(le_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(le_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::gt.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::gt.Scalar(Tensor self, Scalar other) -> Tensor` */
  gt(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(gt_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(gt_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::ge.Tensor(Tensor self, Tensor other) -> Tensor`
   *  `aten::ge.Scalar(Tensor self, Scalar other) -> Tensor` */
  ge(other: Tensor | Scalar): Tensor {
    if (typeof other === 'object') return this.wrap(call(ge_TensorOp.id, this.handle, (other as Tensor).handle) as Handle)
    return this.wrap(call(ge_ScalarOp.id, this.handle, other) as Handle)
  }

  /** `aten::equal(Tensor self, Tensor other) -> bool` */
  equal(other: Tensor): boolean {
    return call(equalOp.id, this.handle, (other as Tensor).handle) as boolean
  }

  /** `aten::allclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, bool equal_nan=False) -> bool` */
  allclose(other: Tensor, rtol?: number, atol?: number, equalNan?: boolean): boolean {
    return call(allcloseOp.id, this.handle, (other as Tensor).handle, rtol, atol, equalNan) as boolean
  }

  /** `aten::isclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, bool equal_nan=False) -> Tensor` */
  isclose(other: Tensor, rtol?: number, atol?: number, equalNan?: boolean): Tensor {
    return this.wrap(call(iscloseOp.id, this.handle, (other as Tensor).handle, rtol, atol, equalNan) as Handle)
  }

  /** `aten::isnan(Tensor self) -> Tensor` */
  isnan(): Tensor {
    return this.wrap(call(isnanOp.id, this.handle) as Handle)
  }

  /** `aten::isinf(Tensor self) -> Tensor` */
  isinf(): Tensor {
    return this.wrap(call(isinfOp.id, this.handle) as Handle)
  }

  /** `aten::isfinite(Tensor self) -> Tensor` */
  isfinite(): Tensor {
    return this.wrap(call(isfiniteOp.id, this.handle) as Handle)
  }

  /** `aten::logical_and(Tensor self, Tensor other) -> Tensor` */
  logicalAnd(other: Tensor): Tensor {
    return this.wrap(call(logicalAndOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::logical_or(Tensor self, Tensor other) -> Tensor` */
  logicalOr(other: Tensor): Tensor {
    return this.wrap(call(logicalOrOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::logical_or_(Tensor(a!) self, Tensor other) -> Tensor(a!)` */
  logicalOr_(other: Tensor): this {
    return (call(logicalOr_Op.id, this.handle, (other as Tensor).handle), this)
  }

  /** `aten::logical_xor(Tensor self, Tensor other) -> Tensor` */
  logicalXor(other: Tensor): Tensor {
    return this.wrap(call(logicalXorOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::logical_not(Tensor self) -> Tensor` */
  logicalNot(): Tensor {
    return this.wrap(call(logicalNotOp.id, this.handle) as Handle)
  }

  /** `aten::relu(Tensor self) -> Tensor` */
  relu(): Tensor {
    return this.wrap(call(reluOp.id, this.handle) as Handle)
  }

  /** `aten::relu_(Tensor(a!) self) -> Tensor(a!)` */
  relu_(): this {
    return (call(relu_Op.id, this.handle), this)
  }

  /** `aten::gelu(Tensor self, *, str approximate="none") -> Tensor` */
  gelu(approximate?: string): Tensor {
    return this.wrap(call(geluOp.id, this.handle, approximate) as Handle)
  }

  /** `aten::silu(Tensor self) -> Tensor` */
  silu(): Tensor {
    return this.wrap(call(siluOp.id, this.handle) as Handle)
  }

  /** `aten::sigmoid(Tensor self) -> Tensor` */
  sigmoid(): Tensor {
    return this.wrap(call(sigmoidOp.id, this.handle) as Handle)
  }

  /** `aten::softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor` */
  softplus(beta?: Scalar, threshold?: Scalar): Tensor {
    return this.wrap(call(softplusOp.id, this.handle, beta, threshold) as Handle)
  }

  /** `aten::tanh(Tensor self) -> Tensor` */
  tanh(): Tensor {
    return this.wrap(call(tanhOp.id, this.handle) as Handle)
  }

  /** `aten::erf(Tensor self) -> Tensor` */
  erf(): Tensor {
    return this.wrap(call(erfOp.id, this.handle) as Handle)
  }

  /** `aten::erfinv(Tensor self) -> Tensor` */
  erfinv(): Tensor {
    return this.wrap(call(erfinvOp.id, this.handle) as Handle)
  }

  /** `aten::erfinv_(Tensor(a!) self) -> Tensor(a!)` */
  erfinv_(): this {
    return (call(erfinv_Op.id, this.handle), this)
  }

  /** `aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor` */
  softmax(dim: number, dtype?: DType | null): Tensor {
    return this.wrap(call(softmax_intOp.id, this.handle, dim, dtype) as Handle)
  }

  /** `aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor` */
  logSoftmax(dim: number, dtype?: DType | null): Tensor {
    return this.wrap(call(logSoftmax_intOp.id, this.handle, dim, dtype) as Handle)
  }

  /** `aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  sum(dim?: number | readonly number[] | null, keepdim?: boolean, dtype?: DType | null): Tensor {
    return this.wrap(call(sum_dim_IntListOp.id, this.handle, dim, keepdim, dtype) as Handle)
  }

  /** `aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  mean(dim?: number | readonly number[] | null, keepdim?: boolean, dtype?: DType | null): Tensor {
    return this.wrap(call(mean_dimOp.id, this.handle, dim, keepdim, dtype) as Handle)
  }

  /** `aten::prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  prod(dim: number, keepdim?: boolean, dtype?: DType | null): Tensor {
    return this.wrap(call(prod_dim_intOp.id, this.handle, dim, keepdim, dtype) as Handle)
  }

  /** `aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor` */
  amax(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return this.wrap(call(amaxOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor` */
  amin(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return this.wrap(call(aminOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::max(Tensor self) -> Tensor`
   *  `aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)` */
  max(): Tensor
  max(dim: number, keepdim?: boolean): [Tensor, Tensor]
  max(dim?: number, keepdim?: boolean): Tensor | [Tensor, Tensor] {
    if (dim === undefined) return this.wrap(call(maxOp.id, this.handle) as Handle)
    return (call(max_dimOp.id, this.handle, dim, keepdim) as Handle[]).map(handle => this.wrap(handle)) as [Tensor, Tensor]
  }

  /** `aten::min(Tensor self) -> Tensor`
   *  `aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)` */
  min(): Tensor
  min(dim: number, keepdim?: boolean): [Tensor, Tensor]
  min(dim?: number, keepdim?: boolean): Tensor | [Tensor, Tensor] {
    if (dim === undefined) return this.wrap(call(minOp.id, this.handle) as Handle)
    return (call(min_dimOp.id, this.handle, dim, keepdim) as Handle[]).map(handle => this.wrap(handle)) as [Tensor, Tensor]
  }

  /** `aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor` */
  argmax(dim?: number | null, keepdim?: boolean): Tensor {
    return this.wrap(call(argmaxOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor` */
  argmin(dim?: number | null, keepdim?: boolean): Tensor {
    return this.wrap(call(argminOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::var.correction(Tensor self, int[1]? dim, *, int? correction, bool keepdim=False) -> Tensor` */
  var(dim?: number | readonly number[] | null, correction?: number | null, keepdim?: boolean): Tensor {
    return this.wrap(call(var_correctionOp.id, this.handle, dim, correction, keepdim) as Handle)
  }

  /** `aten::std.correction(Tensor self, int[1]? dim, *, int? correction, bool keepdim=False) -> Tensor` */
  std(dim?: number | readonly number[] | null, correction?: number | null, keepdim?: boolean): Tensor {
    return this.wrap(call(std_correctionOp.id, this.handle, dim, correction, keepdim) as Handle)
  }

  /** `aten::linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  norm(ord?: Scalar, dim?: number | readonly number[] | null, keepdim?: boolean, dtype?: DType | null): Tensor {
    return this.wrap(call(linalgVectorNormOp.id, this.handle, ord, dim, keepdim, dtype) as Handle)
  }

  /** `aten::linalg_inv(Tensor A) -> Tensor` */
  inverse(): Tensor {
    return this.wrap(call(linalgInvOp.id, this.handle) as Handle)
  }

  /** `aten::linalg_cholesky(Tensor self, *, bool upper=False) -> Tensor` */
  cholesky(upper?: boolean): Tensor {
    return this.wrap(call(linalgCholeskyOp.id, this.handle, upper) as Handle)
  }

  /** `aten::logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor` */
  logsumexp(dim: number | readonly number[], keepdim?: boolean): Tensor {
    return this.wrap(call(logsumexpOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::any(Tensor self) -> Tensor`
   *  `aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor` */
  any(dim?: number, keepdim?: boolean): Tensor {
    if (dim === undefined) return this.wrap(call(anyOp.id, this.handle) as Handle)
    return this.wrap(call(any_dimOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::all(Tensor self) -> Tensor`
   *  `aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor` */
  all(dim?: number, keepdim?: boolean): Tensor {
    if (dim === undefined) return this.wrap(call(allOp.id, this.handle) as Handle)
    return this.wrap(call(all_dimOp.id, this.handle, dim, keepdim) as Handle)
  }

  /** `aten::cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor` */
  cumsum(dim: number, dtype?: DType | null): Tensor {
    return this.wrap(call(cumsumOp.id, this.handle, dim, dtype) as Handle)
  }

  /** `aten::cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor` */
  cumprod(dim: number, dtype?: DType | null): Tensor {
    return this.wrap(call(cumprodOp.id, this.handle, dim, dtype) as Handle)
  }

  /** `aten::count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor` */
  countNonzero(dim: readonly number[]): Tensor {
    return this.wrap(call(countNonzero_dim_IntListOp.id, this.handle, dim) as Handle)
  }

  /** `aten::select.int(Tensor(a) self, int dim, int index) -> Tensor(a)` */
  select(dim: number, index: number): Tensor {
    return this.wrap(call(select_intOp.id, this.handle, dim, index) as Handle)
  }

  /** `aten::slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)` */
  slice(dim?: number, start?: number | null, end_?: number | null, step?: number): Tensor {
    return this.wrap(call(slice_TensorOp.id, this.handle, dim, start, end_, step) as Handle)
  }

  /** `aten::narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)` */
  narrow(dim: number, start: number, length: number): Tensor {
    return this.wrap(call(narrowOp.id, this.handle, dim, start, length) as Handle)
  }

  /** `aten::index.Tensor(Tensor self, Tensor?[] indices) -> Tensor` */
  index(indices: readonly (Tensor | null)[]): Tensor {
    return this.wrap(call(index_TensorOp.id, this.handle, indices.map(tensor => tensor?.handle ?? null)) as Handle)
  }

  /** `aten::index_select(Tensor self, int dim, Tensor index) -> Tensor` */
  indexSelect(dim: number, index: Tensor): Tensor {
    return this.wrap(call(indexSelectOp.id, this.handle, dim, (index as Tensor).handle) as Handle)
  }

  /** `aten::index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor` */
  indexAdd(dim: number, index: Tensor, source: Tensor, alpha?: Scalar): Tensor {
    return this.wrap(call(indexAddOp.id, this.handle, dim, (index as Tensor).handle, (source as Tensor).handle, alpha) as Handle)
  }

  /** `aten::index_add_(Tensor(a!) self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor(a!)` */
  indexAdd_(dim: number, index: Tensor, source: Tensor, alpha?: Scalar): this {
    return (call(indexAdd_Op.id, this.handle, dim, (index as Tensor).handle, (source as Tensor).handle, alpha), this)
  }

  /** `aten::index_copy_(Tensor(a!) self, int dim, Tensor index, Tensor source) -> Tensor(a!)` */
  indexCopy_(dim: number, index: Tensor, source: Tensor): this {
    return (call(indexCopy_Op.id, this.handle, dim, (index as Tensor).handle, (source as Tensor).handle), this)
  }

  /** `aten::index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor` */
  indexPut(indices: readonly (Tensor | null)[], values: Tensor, accumulate?: boolean): Tensor {
    return this.wrap(call(indexPutOp.id, this.handle, indices.map(tensor => tensor?.handle ?? null), (values as Tensor).handle, accumulate) as Handle)
  }

  /** `aten::index_put_(Tensor(a!) self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor(a!)` */
  indexPut_(indices: readonly (Tensor | null)[], values: Tensor, accumulate?: boolean): this {
    return (call(indexPut_Op.id, this.handle, indices.map(tensor => tensor?.handle ?? null), (values as Tensor).handle, accumulate), this)
  }

  /** `aten::gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor` */
  gather(dim: number, index: Tensor): Tensor {
    return this.wrap(call(gatherOp.id, this.handle, dim, (index as Tensor).handle) as Handle)
  }

  /** `aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor`
   *  `aten::scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor` */
  scatter(dim: number, index: Tensor, src: Tensor | Scalar): Tensor {
    if (typeof src === 'object') return this.wrap(call(scatter_srcOp.id, this.handle, dim, (index as Tensor).handle, (src as Tensor).handle) as Handle)
    return this.wrap(call(scatter_valueOp.id, this.handle, dim, (index as Tensor).handle, src) as Handle)
  }

  /** `aten::scatter_.src(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)`
   *  `aten::scatter_.value(Tensor(a!) self, int dim, Tensor index, Scalar value) -> Tensor(a!)` */
  scatter_(dim: number, index: Tensor, src: Tensor | Scalar): this {
    if (typeof src === 'object') return (call(scatter__srcOp.id, this.handle, dim, (index as Tensor).handle, (src as Tensor).handle), this)
    return (call(scatter__valueOp.id, this.handle, dim, (index as Tensor).handle, src), this)
  }

  /** `aten::scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor` */
  scatterAdd(dim: number, index: Tensor, src: Tensor): Tensor {
    return this.wrap(call(scatterAddOp.id, this.handle, dim, (index as Tensor).handle, (src as Tensor).handle) as Handle)
  }

  /** `aten::scatter_add_(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)` */
  scatterAdd_(dim: number, index: Tensor, src: Tensor): this {
    return (call(scatterAdd_Op.id, this.handle, dim, (index as Tensor).handle, (src as Tensor).handle), this)
  }

  /** `aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor`
   *  `aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor` */
  maskedFill(mask: Tensor, value: Tensor | Scalar): Tensor {
    if (typeof value === 'object') return this.wrap(call(maskedFill_TensorOp.id, this.handle, (mask as Tensor).handle, (value as Tensor).handle) as Handle)
    return this.wrap(call(maskedFill_ScalarOp.id, this.handle, (mask as Tensor).handle, value) as Handle)
  }

  /** `aten::masked_fill_.Tensor(Tensor(a!) self, Tensor mask, Tensor value) -> Tensor(a!)`
   *  `aten::masked_fill_.Scalar(Tensor(a!) self, Tensor mask, Scalar value) -> Tensor(a!)` */
  maskedFill_(mask: Tensor, value: Tensor | Scalar): this {
    if (typeof value === 'object') return (call(maskedFill__TensorOp.id, this.handle, (mask as Tensor).handle, (value as Tensor).handle), this)
    return (call(maskedFill__ScalarOp.id, this.handle, (mask as Tensor).handle, value), this)
  }

  /** `aten::masked_select(Tensor self, Tensor mask) -> Tensor` */
  maskedSelect(mask: Tensor): Tensor {
    return this.wrap(call(maskedSelectOp.id, this.handle, (mask as Tensor).handle) as Handle)
  }

  /** `aten::take(Tensor self, Tensor index) -> Tensor` */
  take(index: Tensor): Tensor {
    return this.wrap(call(takeOp.id, this.handle, (index as Tensor).handle) as Handle)
  }

  /** `aten::nonzero(Tensor self) -> Tensor` */
  nonzero(): Tensor {
    return this.wrap(call(nonzeroOp.id, this.handle) as Handle)
  }

  /** `aten::topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)` */
  topk(k: number, dim?: number, largest?: boolean, sorted?: boolean): [Tensor, Tensor] {
    return (call(topkOp.id, this.handle, k, dim, largest, sorted) as Handle[]).map(handle => this.wrap(handle)) as [Tensor, Tensor]
  }

  /** `aten::sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)` */
  sort(dim?: number, descending?: boolean): [Tensor, Tensor] {
    return (call(sort_stableOp.id, this.handle, true, dim, descending) as Handle[]).map(handle => this.wrap(handle)) as [Tensor, Tensor]
  }

  /** `aten::argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor` */
  argsort(dim?: number, descending?: boolean): Tensor {
    return this.wrap(call(argsort_stableOp.id, this.handle, true, dim, descending) as Handle)
  }

  /** `aten::bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor` */
  bincount(weights?: Tensor | null, minlength?: number): Tensor {
    return this.wrap(call(bincountOp.id, this.handle, (weights as Tensor | null | undefined)?.handle ?? null, minlength) as Handle)
  }

  /** `aten::tril(Tensor self, int diagonal=0) -> Tensor` */
  tril(diagonal?: number): Tensor {
    return this.wrap(call(trilOp.id, this.handle, diagonal) as Handle)
  }

  /** `aten::triu(Tensor self, int diagonal=0) -> Tensor` */
  triu(diagonal?: number): Tensor {
    return this.wrap(call(triuOp.id, this.handle, diagonal) as Handle)
  }

  /** `aten::diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)` */
  diagonal(offset?: number, dim1?: number, dim2?: number): Tensor {
    return this.wrap(call(diagonalOp.id, this.handle, offset, dim1, dim2) as Handle)
  }

  /** `aten::one_hot(Tensor self, int num_classes=-1) -> Tensor` */
  oneHot(numClasses?: number): Tensor {
    return this.wrap(call(oneHotOp.id, this.handle, numClasses) as Handle)
  }

  /** `aten::flip(Tensor self, int[] dims) -> Tensor` */
  flip(dims: readonly number[]): Tensor {
    return this.wrap(call(flipOp.id, this.handle, dims) as Handle)
  }

  /** `aten::roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor` */
  roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
    return this.wrap(call(rollOp.id, this.handle, shifts, dims) as Handle)
  }

  /** `aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)` */
  view(size: readonly number[]): Tensor {
    return this.wrap(call(viewOp.id, this.handle, size) as Handle)
  }

  /** `aten::view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)` */
  viewDtype(dtype: DType): Tensor {
    return this.wrap(call(view_dtypeOp.id, this.handle, dtype) as Handle)
  }

  /** `aten::reshape(Tensor(a) self, SymInt[] shape) -> Tensor(a)` */
  reshape(shape: readonly number[]): Tensor {
    return this.wrap(call(reshapeOp.id, this.handle, shape) as Handle)
  }

  /** `aten::flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)` */
  flatten(startDim?: number, endDim?: number): Tensor {
    return this.wrap(call(flatten_using_intsOp.id, this.handle, startDim, endDim) as Handle)
  }

  /** `aten::permute(Tensor(a) self, int[] dims) -> Tensor(a)` */
  permute(dims: readonly number[]): Tensor {
    return this.wrap(call(permuteOp.id, this.handle, dims) as Handle)
  }

  /** `aten::transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)` */
  transpose(dim0: number, dim1: number): Tensor {
    return this.wrap(call(transpose_intOp.id, this.handle, dim0, dim1) as Handle)
  }

  /** `aten::t(Tensor(a) self) -> Tensor(a)` */
  t(): Tensor {
    return this.wrap(call(tOp.id, this.handle) as Handle)
  }

  /** `aten::movedim.int(Tensor(a) self, int source, int destination) -> Tensor(a)` */
  movedim(source: number, destination: number): Tensor {
    return this.wrap(call(movedim_intOp.id, this.handle, source, destination) as Handle)
  }

  /** `aten::unsqueeze(Tensor(a) self, int dim) -> Tensor(a)` */
  unsqueeze(dim: number): Tensor {
    return this.wrap(call(unsqueezeOp.id, this.handle, dim) as Handle)
  }

  /** `aten::squeeze(Tensor(a) self) -> Tensor(a)`
   *  `aten::squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)` */
  squeeze(dim?: number): Tensor {
    if (dim === undefined) return this.wrap(call(squeezeOp.id, this.handle) as Handle)
    return this.wrap(call(squeeze_dimOp.id, this.handle, dim) as Handle)
  }

  /** `aten::expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)` */
  expand(size: readonly number[]): Tensor {
    return this.wrap(call(expandOp.id, this.handle, size) as Handle)
  }

  /** `aten::expand_as(Tensor(a) self, Tensor other) -> Tensor(a)` */
  expandAs(other: Tensor): Tensor {
    return this.wrap(call(expandAsOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::repeat(Tensor self, SymInt[] repeats) -> Tensor` */
  repeat(repeats: readonly number[]): Tensor {
    return this.wrap(call(repeatOp.id, this.handle, repeats) as Handle)
  }

  /** `aten::repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor`
   *  `aten::repeat_interleave.self_int(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor` */
  repeatInterleave(repeats: Tensor | number, dim?: number | null, outputSize?: number | null): Tensor {
    if (typeof repeats === 'object') return this.wrap(call(repeatInterleave_self_TensorOp.id, this.handle, (repeats as Tensor).handle, dim, outputSize) as Handle)
    return this.wrap(call(repeatInterleave_self_intOp.id, this.handle, repeats, dim, outputSize) as Handle)
  }

  /** `aten::contiguous(Tensor(a) self, *, MemoryFormat memory_format=0) -> Tensor(a)` */
  contiguous(): Tensor {
    return this.wrap(call(contiguousOp.id, this.handle) as Handle)
  }

  /** `aten::unbind.int(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]` */
  unbind(dim?: number): Tensor[] {
    return (call(unbind_intOp.id, this.handle, dim) as Handle[]).map(handle => this.wrap(handle))
  }

  /** `aten::split.Tensor(Tensor(a -> *) self, int split_size, int dim=0) -> Tensor(a)[]` */
  split(splitSize: number, dim?: number): Tensor[] {
    return (call(split_TensorOp.id, this.handle, splitSize, dim) as Handle[]).map(handle => this.wrap(handle))
  }

  /** `aten::split_with_sizes(Tensor(a -> *) self, int[] split_sizes, int dim=0) -> Tensor(a)[]` */
  splitWithSizes(splitSizes: readonly number[], dim?: number): Tensor[] {
    return (call(splitWithSizesOp.id, this.handle, splitSizes, dim) as Handle[]).map(handle => this.wrap(handle))
  }

  /** `aten::chunk(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]` */
  chunk(chunks: number, dim?: number): Tensor[] {
    return (call(chunkOp.id, this.handle, chunks, dim) as Handle[]).map(handle => this.wrap(handle))
  }

  /** `aten::unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)` */
  unfold(dimension: number, size: number, step: number): Tensor {
    return this.wrap(call(unfoldOp.id, this.handle, dimension, size, step) as Handle)
  }

  /** `aten::matmul(Tensor self, Tensor other) -> Tensor` */
  matmul(other: Tensor): Tensor {
    return this.wrap(call(matmulOp.id, this.handle, (other as Tensor).handle) as Handle)
  }

  /** `aten::mm(Tensor self, Tensor mat2) -> Tensor` */
  mm(mat2: Tensor): Tensor {
    return this.wrap(call(mmOp.id, this.handle, (mat2 as Tensor).handle) as Handle)
  }

  /** `aten::bmm(Tensor self, Tensor mat2) -> Tensor` */
  bmm(mat2: Tensor): Tensor {
    return this.wrap(call(bmmOp.id, this.handle, (mat2 as Tensor).handle) as Handle)
  }

  /** `aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor` */
  addmm(mat1: Tensor, mat2: Tensor, beta?: Scalar, alpha?: Scalar): Tensor {
    return this.wrap(call(addmmOp.id, this.handle, (mat1 as Tensor).handle, (mat2 as Tensor).handle, beta, alpha) as Handle)
  }

  /** `aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor` */
  baddbmm(batch1: Tensor, batch2: Tensor, beta?: Scalar, alpha?: Scalar): Tensor {
    return this.wrap(call(baddbmmOp.id, this.handle, (batch1 as Tensor).handle, (batch2 as Tensor).handle, beta, alpha) as Handle)
  }

  /** `aten::outer(Tensor self, Tensor vec2) -> Tensor` */
  outer(vec2: Tensor): Tensor {
    return this.wrap(call(outerOp.id, this.handle, (vec2 as Tensor).handle) as Handle)
  }

  /** `aten::dot(Tensor self, Tensor tensor) -> Tensor` */
  dot(tensor: Tensor): Tensor {
    return this.wrap(call(dotOp.id, this.handle, (tensor as Tensor).handle) as Handle)
  }

  /** `aten::clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor` */
  clone(): Tensor {
    return this.wrap(call(cloneOp.id, this.handle) as Handle)
  }

  /** `aten::copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)` */
  copy_(src: Tensor, nonBlocking?: boolean): this {
    return (call(copy_Op.id, this.handle, (src as Tensor).handle, nonBlocking), this)
  }

  /** `aten::fill_.Tensor(Tensor(a!) self, Tensor value) -> Tensor(a!)`
   *  `aten::fill_.Scalar(Tensor(a!) self, Scalar value) -> Tensor(a!)` */
  fill_(value: Tensor | Scalar): this {
    if (typeof value === 'object') return (call(fill__TensorOp.id, this.handle, (value as Tensor).handle), this)
    return (call(fill__ScalarOp.id, this.handle, value), this)
  }

  /** `aten::zero_(Tensor(a!) self) -> Tensor(a!)` */
  zero_(): this {
    return (call(zero_Op.id, this.handle), this)
  }

  /** `aten::normal_(Tensor(a!) self, float mean=0., float std=1., *, Generator? generator=None) -> Tensor(a!)` */
  normal_(mean?: number, std?: number, generator?: Generator | null): this {
    return (call(normal_Op.id, this.handle, mean, std, generator?.id ?? null), this)
  }

  /** `aten::uniform_(Tensor(a!) self, float from=0., float to=1., *, Generator? generator=None) -> Tensor(a!)` */
  uniform_(from_?: number, to_?: number, generator?: Generator | null): this {
    return (call(uniform_Op.id, this.handle, from_, to_, generator?.id ?? null), this)
  }

  /** `aten::bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)` */
  bernoulli_(p?: number, generator?: Generator | null): this {
    return (call(bernoulli__floatOp.id, this.handle, p, generator?.id ?? null), this)
  }

  /** `aten::multinomial(Tensor self, int num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor` */
  multinomial(numSamples: number, replacement?: boolean, generator?: Generator | null): Tensor {
    return this.wrap(call(multinomialOp.id, this.handle, numSamples, replacement, generator?.id ?? null) as Handle)
  }

  /** `aten::detach(Tensor(a) self) -> Tensor(a)` */
  detach(): Tensor {
    return this.wrap(call(detachOp.id, this.handle) as Handle)
  }

  /** `aten::requires_grad_(Tensor(a!) self, bool requires_grad=True) -> Tensor(a!)` */
  requiresGrad_(requiresGrad?: boolean): this {
    return (call(requiresGrad_Op.id, this.handle, requiresGrad), this)
  }

  /** `aten::retain_grad(Tensor(a!) self) -> ()` */
  retainGrad(): void {
    return void call(retainGradOp.id, this.handle)
  }

  /** `aten::set_data(Tensor(a!) self, Tensor new_data) -> ()` */
  setData(newData: Tensor): void {
    return void call(setDataOp.id, this.handle, (newData as Tensor).handle)
  }

  /** `aten::_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor` */
  toCopy(dtype?: DType | null, device?: Device | null, nonBlocking?: boolean): Tensor {
    return this.wrap(call(toCopyOp.id, this.handle, dtype, undefined, device, undefined, nonBlocking) as Handle)
  }
}
