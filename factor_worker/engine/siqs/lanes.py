"""Sixteen numbers at a time: the few vector operations that numba does not find by itself.

They are written in LLVM's portable vectors: one AVX-512 register where there are such, two or four
narrower ones elsewhere, with the same results.
"""

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES: Final = 16
MANY: Final = 128
"""Values that are compared at a time."""
I32, I64 = ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(I32, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
ANYTHING = ir.Constant(VECTOR, ir.Undefined)


class _Code:
    """What the generators below have in common: access to arrays, and constants."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.kinds, self.values = signature.args, arguments

    def address(self, argument: int, index: Any) -> Any:
        """Return where 16 consecutive elements of an array argument begin."""
        array = self.context.make_array(self.kinds[argument])(
            self.context, self.builder, self.values[argument]
        )
        return self.builder.bitcast(self.builder.gep(array.data, [index]), VECTOR.as_pointer())

    def load(self, argument: int, index: Any) -> Any:
        """Return 16 consecutive elements of an array argument."""
        return self.builder.load(self.address(argument, index), align=4)

    def splat(self, value: Any) -> Any:
        """Return 16 times a value."""
        single = self.builder.insert_element(ANYTHING, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(single, ANYTHING, ir.Constant(VECTOR, [0] * LANES))

    def moved(self, roots: Any, steps: Any, primes: Any) -> Any:
        """Return (roots + steps) modulo primes."""
        builder = self.builder
        after = builder.add(roots, steps)
        wrapped = builder.sub(after, primes)
        return builder.select(builder.icmp_unsigned("<", after, wrapped), after, wrapped)

    def as_bits(self, mask: Any) -> Any:
        """Return a mask as an integer."""
        return self.builder.bitcast(mask, ir.IntType(LANES))


@intrinsic
def advance_and_collect(
    _context: Any,
    first: Any,
    second: Any,
    steps: Any,
    primes: Any,
    index: Any,
    forward: Any,
    length: Any,
    rounds: Any,
    out: Any,
    count: Any,
) -> Any:
    """Move 16 pairs of roots to the next polynomial and append their hits below `length` to `out`.

    `steps` is added if `forward`, else subtracted. Every root is followed for `rounds` multiples of
    its prime, so out needs room for 2·16·(rounds + 1) more. Returns the new count.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        compress = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(VECTOR, [VECTOR, MASK, VECTOR]),
            "llvm.experimental.vector.compress.v16i32",
        )
        primes_, steps_ = code.load(3, arguments[4]), code.load(2, arguments[4])
        steps_ = builder.select(
            builder.trunc(arguments[5], ir.IntType(1)), steps_, builder.sub(primes_, steps_)
        )
        limit = code.splat(arguments[6])
        total = cgutils.alloca_once_value(builder, arguments[9])
        for argument in (0, 1):
            roots = code.moved(code.load(argument, arguments[4]), steps_, primes_)
            builder.store(roots, code.address(argument, arguments[4]), align=4)
            current = cgutils.alloca_once_value(builder, roots)
            with cgutils.for_range(builder, arguments[7]):
                positions = builder.load(current)
                inside = builder.icmp_unsigned("<", positions, limit)
                before = builder.load(total)
                builder.store(
                    builder.call(compress, [positions, inside, ANYTHING]),
                    code.address(8, before),
                    align=4,
                )
                hits = builder.zext(builder.ctpop(code.as_bits(inside)), I64)
                builder.store(builder.add(before, hits), total)
                builder.store(builder.add(positions, primes_), current)
        return builder.load(total)

    return types.int64(
        first,
        second,
        steps,
        primes,
        types.int64,
        types.boolean,
        types.uint32,
        types.int64,
        out,
        types.int64,
    ), generate


@intrinsic
def among(_context: Any, values: Any, index: Any, wanted: Any) -> Any:
    """Say whether one of `MANY` values is what is wanted."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        splat = code.splat(arguments[2])
        least = None
        for part in range(MANY // LANES):
            place = builder.add(arguments[1], ir.Constant(I64, part * LANES))
            differs = builder.xor(code.load(0, place), splat)
            if least is None:
                least = differs
            else:
                lower = builder.icmp_unsigned("<", differs, least)
                least = builder.select(lower, differs, least)
        hit = builder.icmp_unsigned("==", least, ir.Constant(VECTOR, [0] * LANES))
        return builder.icmp_unsigned("!=", code.as_bits(hit), ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(values, types.int64, types.uint32), generate


@intrinsic
def congruent(
    _context: Any, first: Any, second: Any, inverses: Any, limits: Any, index: Any, position: Any
) -> Any:
    """Return for 16 pairs of roots, as bits, whether a position is congruent to one of them.

    d is divisible by p exactly if d·p⁻¹ modulo 2^32 is at most (2^32 - 1) / p. A position below its
    root wraps around and is, rarely, taken for congruent. Source: Granlund and Montgomery,
    "Division by invariant integers using multiplication" (1994), section 9.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        wanted = code.splat(arguments[5])
        inverses_, limits_ = code.load(2, arguments[4]), code.load(3, arguments[4])
        one, other = (
            builder.icmp_unsigned(
                "<=",
                builder.mul(builder.sub(wanted, code.load(argument, arguments[4])), inverses_),
                limits_,
            )
            for argument in (0, 1)
        )
        return builder.zext(code.as_bits(builder.or_(one, other)), I64)

    return types.uint64(first, second, inverses, limits, types.int64, types.uint32), generate

