/* Fusing: runs of instructions that compilers write often are done at once, in the usual case.
 *
 * The first one of a run gets another number, of the machine's own; its fields and all others stay. In the usual case the
 * interpreter does the whole run and goes on behind it; else it does the first instruction alone, as if nothing were fused.
 * So jumps into the middle, addresses and errors are what they were.
 *
 *     add r …; check_stored r; move v r       add_store, and so for sub, mul and add_int: `v = v + 1`
 *     jump to a jump_not_lt before it         jump_back_lt: the end of a loop that counts
 */
#include "load.h"

static bool stores(const struct instruction *at)
{
    return at[1].op == OP_CHECK_STORED && at[1].a == at->a && at[2].op == OP_MOVE && at[2].b == at->a;
}

void fuse(struct vm *vm, const struct function *function)
{
    struct instruction *first = vm->code.at + function->start;
    for (uint32_t index = 0; index < function->count; index++) {
        struct instruction *at = first + index;
        uint16_t op = at->op;
        if (op == OP_JUMP && wide_of(at) < 0 && at[1 + wide_of(at)].op == OP_JUMP_NOT_LT)
            at->op = OP_JUMP_BACK_LT;
        if (index + 3 >= function->count || !stores(at))
            continue;
        if (op == OP_ADD)
            at->op = OP_ADD_STORE;
        else if (op == OP_SUB)
            at->op = OP_SUB_STORE;
        else if (op == OP_MUL)
            at->op = OP_MUL_STORE;
        else if (op == OP_ADD_INT)
            at->op = OP_ADD_INT_STORE;
    }
}
