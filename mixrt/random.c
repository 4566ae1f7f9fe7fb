/* Random numbers: xoroshiro128+, whose state is made of a seed of the host at the start of each entry. */
#include "random.h"

#include "builtin.h"
#include "operator.h"

/* splitmix64, which makes well mixed states even of 0 and 1. */
void random_seed(struct vm *vm, uint64_t seed)
{
    for (unsigned index = 0; index < 2; index++) {
        seed += UINT64_C(0x9E3779B97F4A7C15);
        uint64_t mixed = (seed ^ seed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
        vm->random[index] = mixed ^ mixed >> 31;
    }
}

static uint64_t rotated(uint64_t bits, unsigned by) { return bits << by | bits >> (64 - by); }

static uint64_t next(struct vm *vm)
{
    uint64_t a = vm->random[0], b = vm->random[1], sum = a + b;
    b ^= a;
    vm->random[0] = rotated(a, 24) ^ b ^ b << 16;
    vm->random[1] = rotated(b, 37);
    return sum;
}

Value builtin_random_int(struct vm *vm, const Value *arguments)
{
    int64_t first = whole_of(arguments[0]), last = whole_of(arguments[1]);
    if (last < first)
        return raise_text(vm, "random_int: expected a last that is not below the first, %d, found %d", first, last);
    uint64_t count = (uint64_t)last - (uint64_t)first + 1, number;
    if (count == 0)
        return value_of_int(vm, (int64_t)next(vm));
    /* What lies beyond the last multiple of the count would come too often. */
    uint64_t beyond = (0 - count) % count;
    do
        number = next(vm);
    while (number < beyond);
    return value_of_int(vm, (int64_t)((uint64_t)first + number % count));
}

Value builtin_random_float(struct vm *vm, const Value *arguments)
{
    (void)arguments;
    return of_double((double)(next(vm) >> 11) * 0x1.0p-53);
}
