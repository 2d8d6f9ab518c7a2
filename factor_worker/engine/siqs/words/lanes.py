"""Sixteen words at a time: the few vector operations that numba's compiler does not find by itself.

They are written in LLVM's portable vectors: one register each with AVX-512, several narrower ones
elsewhere, with the same results. Only AVX2 needs code of its own, to pack the lanes that a mask keeps:
AVX-512 has an instruction for that, and what LLVM makes of it elsewhere takes three times as long.
Arrays are uint32, read and written from an index that need not be a multiple of sixteen; nobody checks
that it is inside.
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
MANY: Final = 128
"""Values that `among` looks at together."""

_I32, _I64, _BITS = ir.IntType(32), ir.IntType(64), ir.IntType(LANES)
_VECTOR = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ANYTHING = ir.Constant(_VECTOR, ir.Undefined)
_ZEROS = ir.Constant(_VECTOR, [0] * LANES)
_COMPRESS: Final = f"llvm.experimental.vector.compress.v{LANES}i32"
_COMPRESSING = ir.FunctionType(_VECTOR, [_VECTOR, _MASK, _VECTOR])

_HALF: Final = LANES // 2
"""Lanes of a register of AVX2."""
_HALF_BITS = ir.IntType(_HALF)
_HALF_VECTOR = ir.VectorType(_I32, _HALF)
_PICK = ir.VectorType(ir.IntType(8), _HALF)
_PERMUTE: Final = "llvm.x86.avx2.permd"
_PERMUTING = ir.FunctionType(_HALF_VECTOR, [_HALF_VECTOR, _HALF_VECTOR])


def _picks() -> ir.Constant:
    """Return, for each mask of half as many lanes, the lanes that it keeps, and then the others."""
    rows = [
        ir.Constant(_PICK, sorted(range(_HALF), key=lambda lane: not mask >> lane & 1))
        for mask in range(1 << _HALF)
    ]
    return ir.Constant(ir.ArrayType(_PICK, len(rows)), rows)


@functools.cache
def _packs_halves(triple: str, processor: str, features: str) -> bool:
    """Whether a kind of processor has AVX2 and no AVX-512, by what LLVM makes of a sum for it.

    Names of processors do not tell, and to ask for an instruction that is not there ends the program.
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


class _Code:
    """What the intrinsics have in common: it writes code that reads and makes vectors."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._context, self._builder = context, builder
        self._kinds, self._arguments = signature.args, arguments

    def address(self, argument: int, index: Any) -> Any:
        """Return where sixteen elements of an array argument are."""
        make = self._context.make_array(self._kinds[argument])
        data = make(self._context, self._builder, self._arguments[argument]).data
        return self._builder.bitcast(self._builder.gep(data, [index]), _VECTOR.as_pointer())

    def load(self, argument: int, index: Any) -> Any:
        """Return sixteen elements of an array argument."""
        return self._builder.load(self.address(argument, index), align=4)

    def splat(self, word: Any) -> Any:
        """Return sixteen times a word."""
        one = self._builder.insert_element(_ANYTHING, word, ir.Constant(_I32, 0))
        return self._builder.shuffle_vector(one, _ANYTHING, _ZEROS)

    def append_below(self, argument: int, count: Any, values: Any, limit: Any) -> Any:
        """Write the values below a limit to an array argument from an index on; return the next index.

        All are taken for signed numbers, which AVX2 compares in one instruction.
        """
        builder = self._builder
        kept = builder.icmp_signed("<", values, self.splat(limit))
        if _packs_halves(*self._context.codegen().magic_tuple()):
            return self._append_halves(argument, count, values, kept)
        compress = self._function(_COMPRESSING, _COMPRESS)
        packed = builder.call(compress, [values, kept, _ANYTHING])
        builder.store(packed, self.address(argument, count), align=4)
        return builder.add(count, builder.zext(builder.ctpop(self.bits(kept)), _I64))

    def _append_halves(self, argument: int, count: Any, values: Any, kept: Any) -> Any:
        """Do so by a table of permutations."""
        builder = self._builder
        table = cgutils.global_constant(builder, "picks", _picks())  # type: ignore[no-untyped-call]
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

    def least(self, left: Any, right: Any) -> Any:
        """Return the smaller ones."""
        return self._builder.select(self._builder.icmp_unsigned("<", left, right), left, right)

    def bits(self, mask: Any) -> Any:
        """Return a mask as a word of so many bits as there are lanes."""
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
        write = _Code(context, builder, signature, arguments)
        index, add, length, times, count = arguments[5:]
        p, step = write.load(3, index), write.load(2, index)
        step = builder.select(builder.trunc(add, ir.IntType(1)), step, builder.sub(p, step))
        total = cgutils.alloca_once_value(builder, count)  # type: ignore[no-untyped-call]
        for roots in (0, 1):
            moved = builder.add(write.load(roots, index), step)
            moved = write.least(moved, builder.sub(moved, p))
            builder.store(moved, write.address(roots, index), align=4)
            current = cgutils.alloca_once_value(builder, moved)  # type: ignore[no-untyped-call]
            with cgutils.for_range(builder, times):
                positions, before = builder.load(current), builder.load(total)
                builder.store(write.append_below(4, before, positions, length), total)
                builder.store(builder.add(positions, p), current)
        return builder.load(total)

    rest = types.int64, types.boolean, types.uint32, types.int64, types.int64
    return types.int64(first, second, steps, primes, out, *rest), code


@intrinsic
def _among(_typing: Any, values: Any, _start: Any, _wanted: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write = _Code(context, builder, signature, arguments)
        wanted = write.splat(arguments[2])
        together = None
        for place in range(0, MANY, LANES):
            found = write.load(0, builder.add(arguments[1], ir.Constant(_I64, place)))
            differences = builder.xor(found, wanted)
            together = write.least(differences, together) if together else differences
        bits = write.bits(builder.icmp_unsigned("==", together, _ZEROS))
        return builder.icmp_unsigned("!=", bits, ir.Constant(_BITS, 0))

    return types.boolean(values, types.int64, types.uint32), code


@intrinsic
def _congruent(
    _typing: Any,
    first: Any,
    second: Any,
    inverses: Any,
    quotients: Any,
    _index: Any,
    _position: Any,
) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write = _Code(context, builder, signature, arguments)
        index, position = arguments[4], write.splat(arguments[5])
        inverse, quotient = write.load(2, index), write.load(3, index)

        def divisible(roots: int) -> Any:
            distance = builder.sub(position, write.load(roots, index))
            return builder.icmp_unsigned("<=", builder.mul(distance, inverse), quotient)

        return builder.zext(write.bits(builder.or_(divisible(0), divisible(1))), _I64)

    return types.uint64(first, second, inverses, quotients, types.int64, types.uint32), code


advance_and_collect = cast(
    "Callable[[Ids, Ids, Ids, Ids, Ids, int, bool, np.uint32, int, int], int]",
    _advance_and_collect,
)
"""Move sixteen pairs of roots by steps modulo their primes, and append to a list where they hit.

Arguments: first and second roots, steps, primes, the list; index; whether to add the steps or to
subtract them; length of the interval; hits that a root may have in it at most; length of the list.
Returns the list's new length. A whole vector is written at its end: it needs room for sixteen more.
Primes and length are below 2^30.
"""
among = cast("Callable[[Ids, int, np.uint32], bool]", _among)
"""Whether one of `MANY` values from an index on is the wanted one."""
congruent = cast("Callable[[Ids, Ids, Ids, Ids, int, np.uint32], Word]", _congruent)
"""For sixteen primes, as bits, whether a position is a multiple of p away from a root.

Arguments: first and second roots, p⁻¹ mod 2^32 and ⌊(2^32 - 1)/p⌋ of odd primes; index; position.
A distance d ≥ 0 is a multiple if and only if d·p⁻¹ mod 2^32 is at most that quotient (Granlund and
Montgomery 1994). A position below the root may rarely be taken for one.
"""
