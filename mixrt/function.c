/* Built-ins for the functions of mathematics. Those of the module are musl's, which the compiler brings, so that results are the same
 * on every engine. */
#include <math.h>

#include "builtin.h"
#include "operator.h"

#define ONE(name) \
    Value builtin_number_##name(struct vm *vm, const Value *arguments) \
    { \
        charge(vm, 4); \
        return of_double(name(number_of(arguments[0]))); \
    }
#define TWO(name) \
    Value builtin_number_##name(struct vm *vm, const Value *arguments) \
    { \
        charge(vm, 4); \
        return of_double(name(number_of(arguments[0]), number_of(arguments[1]))); \
    }

ONE(sin)
ONE(cos)
ONE(tan)
ONE(asin)
ONE(acos)
ONE(atan)
ONE(sinh)
ONE(cosh)
ONE(tanh)
ONE(asinh)
ONE(acosh)
ONE(atanh)
ONE(exp)
ONE(expm1)
ONE(log)
ONE(log10)
ONE(log1p)
TWO(atan2)
TWO(pow)
TWO(hypot)
TWO(copysign)
