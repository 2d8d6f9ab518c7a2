"""Sixteen words at a time: the few vector operations that LLVM does not find in numba's loops by itself.

Theory of operation
-------------------
Three operations take much of the sieve's time and need vector instructions: renewing the roots of the
far primes and packing those that hit the interval into a list (`advance_and_collect`), searching that list
for a position (`contains`), and asking which of sixteen primes divide the value at a position
(`root_hits`). Each is a numba *intrinsic*: a function that emits LLVM instructions where a kernel calls it.
An intrinsic has two parts. The typing part gives the types of the arguments and of the result; the code
part, which numba calls when it compiles a kernel, builds the instructions with llvmlite. `_Emitter` has
what the code parts share.

The code uses LLVM's portable vectors of sixteen 32-bit lanes. The compiler puts each into one register
with AVX-512 and into several narrower ones elsewhere; results are the same on every processor. One step
needs a special case: packing the lanes that a mask keeps. AVX-512 has an instruction for it
(`vpcompressd`). On AVX2 LLVM would store lane after lane, three times slower, so there each half of the
vector goes through a permutation from a table of 256, one for each mask of eight lanes. Which of the two
ways a processor needs is found out by compiling a vector sum for it and looking at the registers used.

Arrays are uint32 and are accessed from an index that need not be a multiple of sixteen. Bounds are not
checked: the caller guarantees that sixteen (or `CHUNK`) elements are there.
"""

import functools
from typing import TYPE_CHECKING, Any, Final, cast

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from factor_worker.engine.siqs.words.arithmetic import Word
    from factor_worker.engine.siqs.words.arrays import Ids

LANES: Final = 16
CHUNK: Final = 128
"""How many values `contains` compares at a time."""

_I32, _I64, _BITS = ir.IntType(32), ir.IntType(64), ir.IntType(LANES)
_VECTOR = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ANYTHING = ir.Constant(_VECTOR, ir.Undefined)
_ZEROS = ir.Constant(_VECTOR, [0] * LANES)
_COMPRESS: Final = f"llvm.experimental.vector.compress.v{LANES}i32"
_COMPRESSING = ir.FunctionType(_VECTOR, [_VECTOR, _MASK, _VECTOR])

_HALF: Final = LANES // 2
"""How many lanes an AVX2 register has."""
_HALF_BITS = ir.IntType(_HALF)
_HALF_VECTOR = ir.VectorType(_I32, _HALF)
_PERMUTATION = ir.VectorType(ir.IntType(8), _HALF)
_PERMUTE: Final = "llvm.x86.avx2.permd"
_PERMUTING = ir.FunctionType(_HALF_VECTOR, [_HALF_VECTOR, _HALF_VECTOR])


def _permutations() -> ir.Constant:
    """Return for each mask of eight lanes a permutation: the lanes that it keeps first, then the others."""
    rows = [
        ir.Constant(_PERMUTATION, sorted(range(_HALF), key=lambda lane: not mask >> lane & 1))
        for mask in range(1 << _HALF)
    ]
    return ir.Constant(ir.ArrayType(_PERMUTATION, len(rows)), rows)


@functools.cache
def _has_avx2_only(triple: str, processor: str, features: str) -> bool:
    """Return whether a target processor has AVX2 but not AVX-512, from the code of a sum of two vectors.

    The names of processors do not tell, and emitting an instruction that one lacks would kill the process.
    """
    module = ir.Module()
    module.triple = triple
    kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
    builder = ir.IRBuilder(ir.Function(module, kind, "sum").append_basic_block())
    builder.ret(builder.add(*builder.function.args))
    machine = binding.Target.from_triple(triple).create_target_machine(processor, features)
    assembly = machine.emit_assembly(binding.parse_assembly(str(module)))
    added = [line for line in assembly.splitlines() if "vpaddd" in line]
    return any("ymm" in line for line in added) and not any("zmm" in line for line in added)


class _Emitter:
    """Emits the instructions that the intrinsics have in common, for one call in one kernel."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._context, self._builder = context, builder
        self._kinds, self._arguments = signature.args, arguments

    def address(self, argument: int, index: Any) -> Any:
        """Return the address of sixteen elements of an array argument, from an index on."""
        make = self._context.make_array(self._kinds[argument])
        data = make(self._context, self._builder, self._arguments[argument]).data
        return self._builder.bitcast(self._builder.gep(data, [index]), _VECTOR.as_pointer())

    def load(self, argument: int, index: Any) -> Any:
        """Return sixteen elements of an array argument, from an index on."""
        return self._builder.load(self.address(argument, index), align=4)

    def splat(self, word: Any) -> Any:
        """Return a vector with the same word in every lane."""
        one = self._builder.insert_element(_ANYTHING, word, ir.Constant(_I32, 0))
        return self._builder.shuffle_vector(one, _ANYTHING, _ZEROS)

    def append_below(self, argument: int, count: Any, values: Any, limit: Any) -> Any:
        """Append the values below a limit to an array argument, from index `count`; return the new count.

        Values are compared as signed numbers, which AVX2 does in one instruction.
        """
        builder = self._builder
        kept = builder.icmp_signed("<", values, self.splat(limit))
        if _has_avx2_only(*self._context.codegen().magic_tuple()):
            return self._append_by_permutation(argument, count, values, kept)
        compress = self._function(_COMPRESSING, _COMPRESS)
        packed = builder.call(compress, [values, kept, _ANYTHING])
        builder.store(packed, self.address(argument, count), align=4)
        return builder.add(count, builder.zext(builder.ctpop(self.bits(kept)), _I64))

    def _append_by_permutation(self, argument: int, count: Any, values: Any, kept: Any) -> Any:
        """Append the kept values with AVX2: half a vector at a time, packed by a table of permutations."""
        builder = self._builder
        table = cgutils.global_constant(builder, "picks", _permutations())  # type: ignore[no-untyped-call]
        permute = self._function(_PERMUTING, _PERMUTE)
        for lanes in (range(_HALF), range(_HALF, LANES)):
            which = ir.Constant(_HALF_VECTOR, list(lanes))
            half = builder.shuffle_vector(values, _ANYTHING, which)
            mask = builder.shuffle_vector(kept, ir.Constant(_MASK, ir.Undefined), which)
            bits = builder.zext(builder.bitcast(mask, _HALF_BITS), _I64)
            pick = builder.load(builder.gep(table, [ir.Constant(_I64, 0), bits]))
            packed = builder.call(permute, [half, builder.zext(pick, _HALF_VECTOR)])
            end = builder.bitcast(self.address(argument, count), _HALF_VECTOR.as_pointer())
            builder.store(packed, end, align=4)
            count = builder.add(count, builder.ctpop(bits))
        return count

    def _function(self, kind: Any, name: str) -> Any:
        return cgutils.get_or_insert_function(self._builder.module, kind, name)  # type: ignore[no-untyped-call]

    def minimum(self, left: Any, right: Any) -> Any:
        """Return the smaller value in each lane."""
        return self._builder.select(self._builder.icmp_unsigned("<", left, right), left, right)

    def bits(self, mask: Any) -> Any:
        """Return a mask as an integer with one bit for each lane."""
        return self._builder.bitcast(mask, _BITS)


@intrinsic
def _advance_and_collect(
    _typing: Any,
    first: Any,
    second: Any,
    steps: Any,
    primes: Any,
    out: Any,
    _index: Any,
    _add: Any,
    _length: Any,
    _times: Any,
    _count: Any,
) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(context, builder, signature, arguments)
        index, add, length, times, count = arguments[5:]
        p, step = emit.load(3, index), emit.load(2, index)
        step = builder.select(builder.trunc(add, ir.IntType(1)), step, builder.sub(p, step))
        total = cgutils.alloca_once_value(builder, count)  # type: ignore[no-untyped-call]
        for roots in (0, 1):
            moved = builder.add(emit.load(roots, index), step)
            moved = emit.minimum(moved, builder.sub(moved, p))
            builder.store(moved, emit.address(roots, index), align=4)
            current = cgutils.alloca_once_value(builder, moved)  # type: ignore[no-untyped-call]
            with cgutils.for_range(builder, times):
                positions, before = builder.load(current), builder.load(total)
                builder.store(emit.append_below(4, before, positions, length), total)
                builder.store(builder.add(positions, p), current)
        return builder.load(total)

    rest = types.int64, types.boolean, types.uint32, types.int64, types.int64
    return types.int64(first, second, steps, primes, out, *rest), code


@intrinsic
def _contains(_typing: Any, values: Any, _start: Any, _wanted: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(context, builder, signature, arguments)
        wanted = emit.splat(arguments[2])
        smallest = None
        for place in range(0, CHUNK, LANES):
            found = emit.load(0, builder.add(arguments[1], ir.Constant(_I64, place)))
            differences = builder.xor(found, wanted)
            smallest = emit.minimum(differences, smallest) if smallest else differences
        bits = emit.bits(builder.icmp_unsigned("==", smallest, _ZEROS))
        return builder.icmp_unsigned("!=", bits, ir.Constant(_BITS, 0))

    return types.boolean(values, types.int64, types.uint32), code


@intrinsic
def _root_hits(
    _typing: Any,
    first: Any,
    second: Any,
    inverses: Any,
    quotients: Any,
    _index: Any,
    _position: Any,
) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(context, builder, signature, arguments)
        index, position = arguments[4], emit.splat(arguments[5])
        inverse, quotient = emit.load(2, index), emit.load(3, index)

        def divisible(roots: int) -> Any:
            distance = builder.sub(position, emit.load(roots, index))
            return builder.icmp_unsigned("<=", builder.mul(distance, inverse), quotient)

        return builder.zext(emit.bits(builder.or_(divisible(0), divisible(1))), _I64)

    return types.uint64(first, second, inverses, quotients, types.int64, types.uint32), code


advance_and_collect = cast(
    "Callable[[Ids, Ids, Ids, Ids, Ids, int, bool, np.uint32, int, int], int]",
    _advance_and_collect,
)
"""Move sixteen pairs of roots by their steps modulo their primes, and append their hits to a list.

Arguments: uint32 arrays of first roots, second roots, steps, primes, and the list of hits; the index of
the first of sixteen primes; whether to add the steps or to subtract them; the length of the interval; the
most hits that a root can have in it; the length of the list so far. Returns the new length of the list.
A whole vector is stored at the end of the list, which needs room for sixteen more entries. Primes and the
interval's length are below 2^30.
"""
contains = cast("Callable[[Ids, int, np.uint32], bool]", _contains)
"""Return whether one of `CHUNK` values, from an index on, equals the wanted one."""
root_hits = cast("Callable[[Ids, Ids, Ids, Ids, int, np.uint32], Word]", _root_hits)
"""Return, as sixteen bits, which primes have a root that is congruent to a position modulo the prime.

Arguments: uint32 arrays of first roots, second roots, p⁻¹ mod 2^32 and ⌊(2^32 - 1)/p⌋ for odd primes p;
the index of the first of sixteen primes; the position. A distance d ≥ 0 is a multiple of p if and only if
d·p⁻¹ mod 2^32 is at most that quotient (Granlund and Montgomery, "Division by invariant integers using
multiplication", 1994). A position below the root gives a false hit now and then.
"""
