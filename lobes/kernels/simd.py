"""Vectors of float32 as a type of numba, in which the CPU scan and the CPU convolution are written.

numba leaves it to LLVM to find loops that can run in vectors. LLVM gives up where a loop reads and writes many arrays
that might overlap, as the scan's do. Here the vectors are written out: a `Vector` is LANES float32 in an LLVM vector,
which LLVM splits into the registers that the machine has. Memory is addressed by plain integers, in bytes, so that one
compiled form serves all strides. Rows of tensors may be bfloat16: they are widened when read, and rounded when they
are written.

The operators + - * / work between vectors, and between a vector and a float32. The compiler may fuse a product with a
sum, and nothing else: no sum is reordered, and a NaN is never assumed away.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic
from numba.extending import lower_builtin, models, register_model

from lobes.kernels.memory import HalfRows

intrinsic: Any = _intrinsic  # numba's type stubs show the typing context as an argument


_FEATURES = binding.get_host_cpu_features()
AVX512 = all(_FEATURES.get(name) for name in ("avx512f", "avx512dq"))
LANES = 32 if AVX512 else 16  # two registers of the machine's width: the second hides the latency of the first
BYTES = 4 * LANES
HALF = BYTES // 2
ROOTS = 32  # of two: what two registers of AVX-512 hold

_FLOAT, _INT, _BIT = ir.FloatType(), ir.IntType(32), ir.IntType(1)
_FLOATS, _INTS, _MASK = (ir.VectorType(kind, LANES) for kind in (_FLOAT, _INT, _BIT))
_SHORTS = ir.VectorType(ir.IntType(16), LANES)  # bfloat16: the upper half of a float32
_HALF = ir.VectorType(_FLOAT, LANES // 2)
_LOW, _HIGH = (list(range(start, start + LANES // 2)) for start in (0, LANES // 2))
_NAME, _HALF_NAME, _SHORT_NAME = f"v{LANES}f32", f"v{LANES // 2}f32", f"v{LANES}i16"
_UNALIGNED = 4
_PLACES = ir.VectorType(_INT, LANES // 2)
# Further arguments of AVX-512's instructions: the value of masked lanes, the mask, and the rounding that is set.
_UNSET, _ALL, _AS_SET = ir.Constant(_HALF, ir.Undefined), ir.Constant(ir.IntType(16), -1), ir.Constant(_INT, 4)


class VectorType(types.Type):
    """The numba type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


Vector = VectorType()
Float, Address, Count = types.float32, types.int64, types.int64


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


def _splat(builder: Any, value: Any, kind: Any = _FLOATS) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _define(symbol: Callable[..., Any], name: str, flags: tuple[str, ...]) -> None:
    """Give an operator its forms with vectors on one or both sides."""
    forms = [(Vector, Vector), (Vector, Float), (Float, Vector)]

    class Template(ConcreteTemplate):
        cases = [signature(Vector, *form) for form in forms]

    infer_global(symbol)(Template)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sides = [x if kind == Vector else _splat(builder, x) for x, kind in zip(args, signature.args, strict=True)]
        return getattr(builder, name)(*sides, flags=flags)

    for form in forms:
        lower_builtin(symbol, *form)(generate)


_define(operator.add, "fadd", ("contract",))
_define(operator.sub, "fsub", ("contract",))
_define(operator.mul, "fmul", ("contract",))
_define(operator.truediv, "fdiv", ())


def _pointer(builder: Any, address: Any, kind: Any = _FLOATS) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _halves(builder: Any, x: Any) -> list[Any]:
    """The lower and the upper half of a vector."""
    return [builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(_INT, LANES // 2), h)) for h in (_LOW, _HIGH)]


def _call(builder: Any, name: str, result: Any, args: list[Any], **options: Any) -> Any:
    """Call one of LLVM's own functions."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args, **options)


def _first(builder: Any, count: Any) -> Any:
    """The mask of the first `count` lanes."""
    place = ir.Constant(_INTS, list(range(LANES)))
    return builder.icmp_signed("<", place, _splat(builder, builder.trunc(count, _INT), _INTS))


@intrinsic
def splat(typing_context, x):
    """A vector of one float32."""

    def generate(context, builder, signature, args):
        return _splat(builder, args[0])

    return Vector(Float), generate


@intrinsic
def load(typing_context, address):
    """The vector at an address."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0]), align=_UNALIGNED)

    return Vector(Address), generate


@intrinsic
def store(typing_context, address, x):
    """Write a vector to an address."""

    def generate(context, builder, signature, args):
        builder.store(args[1], _pointer(builder, args[0]), align=_UNALIGNED)
        return context.get_dummy_value()

    return types.void(Address, Vector), generate


@intrinsic
def load_float(typing_context, address):
    """The one float32 at an address."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0], _FLOAT))

    return Float(Address), generate


@intrinsic
def store_float(typing_context, address, x):
    """Write one float32."""

    def generate(context, builder, signature, args):
        builder.store(args[1], _pointer(builder, args[0], _FLOAT))
        return context.get_dummy_value()

    return types.void(Address, Float), generate


@intrinsic
def load_int(typing_context, address):
    """The one int64 at an address."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0], ir.IntType(64)))

    return Count(Address), generate


def _is_half(rows: Any) -> bool:
    """Whether a type is that of rows of bfloat16; `Rows` and None stand for float32."""
    return getattr(rows, "instance_class", None) is HalfRows


def _form(rows: Any) -> tuple[Any, str, int]:
    """The vector that lies in rows: type, name and alignment."""
    return (_SHORTS, _SHORT_NAME, _UNALIGNED // 2) if _is_half(rows) else (_FLOATS, _NAME, _UNALIGNED)


def _widened(builder: Any, x: Any) -> Any:
    """The float32 of numbers from rows."""
    if x.type != _SHORTS:
        return x
    up = ir.Constant(_INTS, [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(x, _INTS), up), _FLOATS)


def _narrowed(builder: Any, x: Any, kind: Any) -> Any:
    """Float32 for rows: the nearest bfloat16, of two equally near ones that with an even last bit; NaN stays NaN."""
    if kind != _SHORTS:
        return x
    down, one, below_half, nan = (ir.Constant(_INTS, [number] * LANES) for number in (16, 1, 0x7FFF, 0x7FC0))
    bits = builder.bitcast(x, _INTS)
    odd = builder.and_(builder.lshr(bits, down), one)
    near = builder.lshr(builder.add(bits, builder.add(odd, below_half)), down)
    return builder.trunc(builder.select(builder.fcmp_unordered("uno", x, x), nan, near), _SHORTS)


@intrinsic
def number_size(typing_context, rows):
    """Bytes of one number in rows, known when a kernel is compiled."""
    return Count(rows), lambda context, builder, signature, args: ir.Constant(
        ir.IntType(64), 2 if _is_half(rows) else 4
    )


@intrinsic
def load_row(typing_context, rows, address):
    """`load` from rows of either type."""
    kind, _, size = _form(rows)

    def generate(context, builder, signature, args):
        return _widened(builder, builder.load(_pointer(builder, args[1], kind), align=size))

    return Vector(rows, Address), generate


@intrinsic
def store_row(typing_context, rows, address, x):
    """`store` to rows of either type."""
    kind, _, size = _form(rows)

    def generate(context, builder, signature, args):
        builder.store(_narrowed(builder, args[2], kind), _pointer(builder, args[1], kind), align=size)
        return context.get_dummy_value()

    return types.void(rows, Address, Vector), generate


@intrinsic
def load_some(typing_context, rows, address, count):
    """The first `count` numbers at an address in rows, then zeros; nothing behind them is read."""
    kind, name, size = _form(rows)

    def generate(context, builder, signature, args):
        pointer, mask = _pointer(builder, args[1], kind), _first(builder, args[2])
        args = [pointer, ir.Constant(_INT, size), mask, ir.Constant(kind, None)]
        return _widened(builder, _call(builder, f"llvm.masked.load.{name}.p0", kind, args))

    return Vector(rows, Address, Count), generate


@intrinsic
def store_some(typing_context, rows, address, x, count):
    """Write the first `count` numbers of a vector to rows."""
    kind, name, size = _form(rows)

    def generate(context, builder, signature, args):
        pointer, mask = _pointer(builder, args[1], kind), _first(builder, args[3])
        args = [_narrowed(builder, args[2], kind), pointer, ir.Constant(_INT, size), mask]
        _call(builder, f"llvm.masked.store.{name}.p0", ir.VoidType(), args)
        return context.get_dummy_value()

    return types.void(rows, Address, Vector, Count), generate


@intrinsic
def where_less(typing_context, a, b, x, y):
    """x where a < b, else y; y also where a or b is NaN."""

    def generate(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return Vector(Vector, Vector, Vector, Vector), generate


@intrinsic
def product_minus(typing_context, x, y, z):
    """x y - z, rounded once; slow where the machine has no instruction for it."""

    def generate(context, builder, signature, args):
        return _call(builder, f"llvm.fma.{_NAME}", _FLOATS, [args[0], args[1], builder.fneg(args[2])])

    return Vector(Vector, Vector, Vector), generate


@intrinsic
def power_of_two(typing_context, x):
    """The float32 whose bits are those of `x`, shifted up into the exponent: 2^(k - 127) for low bits k."""

    def generate(context, builder, signature, args):
        shifted = builder.shl(builder.bitcast(args[0], _INTS), ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(shifted, _FLOATS)

    return Vector(Vector), generate


def _joined(builder: Any, low: Any, high: Any) -> Any:
    """The vector of two halves."""
    return builder.shuffle_vector(low, high, ir.Constant(_INTS, _LOW + _HIGH))


@intrinsic
def times_power_of_two(typing_context, x, k):
    """x 2^floor(k), also where that is zero or infinite; only for machines with AVX-512."""

    def generate(context, builder, signature, args):
        name, more = "llvm.x86.avx512.mask.scalef.ps.512", [_UNSET, _ALL, _AS_SET]
        halves = zip(*(_halves(builder, arg) for arg in args), strict=True)
        return _joined(builder, *(_call(builder, name, _HALF, [*half, *more]) for half in halves))

    return Vector(Vector, Vector), generate


@intrinsic
def root_of_two(typing_context, x):
    """2^(j / ROOTS) for the number j in the lowest five bits of `x`; only for machines with AVX-512."""

    def generate(context, builder, signature, args):
        roots = [float(np.float32(2 ** (j / ROOTS))) for j in range(ROOTS)]
        first, second = (ir.Constant(_HALF, roots[start : start + ROOTS // 2]) for start in (0, ROOTS // 2))
        places = (builder.bitcast(half, _PLACES) for half in _halves(builder, args[0]))
        name = "llvm.x86.avx512.vpermi2var.ps.512"
        return _joined(builder, *(_call(builder, name, _HALF, [first, place, second]) for place in places))

    return Vector(Vector), generate


@intrinsic
def add_folded(typing_context, address, x):
    """Add both halves of a vector to the LANES / 2 floats at an address."""

    def generate(context, builder, signature, args):
        pointer = _pointer(builder, args[0], _HALF)
        low, high = _halves(builder, args[1])
        both = builder.fadd(low, high, flags=("contract",))
        both = builder.fadd(both, builder.load(pointer, align=_UNALIGNED), flags=("contract",))
        builder.store(both, pointer, align=_UNALIGNED)
        return context.get_dummy_value()

    return types.void(Address, Vector), generate


@intrinsic
def total_folded(typing_context, address):
    """The sum of the LANES / 2 floats at an address, in pairs."""

    def generate(context, builder, signature, args):
        start, x = ir.Constant(_FLOAT, 0.0), builder.load(_pointer(builder, args[0], _HALF), align=_UNALIGNED)
        return _call(builder, f"llvm.vector.reduce.fadd.{_HALF_NAME}", _FLOAT, [start, x], fastmath=("reassoc",))

    return Float(Address), generate


def _prefetch(write: int) -> Any:
    @intrinsic
    def fetch(typing_context, address):
        """Ask the memory for the cache line at an address, which may be anywhere."""

        def generate(context, builder, signature, args):
            pointer = _pointer(builder, args[0], ir.IntType(8))
            keep_near, data = ir.Constant(_INT, 2), ir.Constant(_INT, 1)  # in the second cache: it is wanted later
            _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, ir.Constant(_INT, write), keep_near, data])
            return context.get_dummy_value()

        return types.void(Address), generate

    return fetch


prefetch_to_read, prefetch_to_write = _prefetch(0), _prefetch(1)
