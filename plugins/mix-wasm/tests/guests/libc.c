/* What C programs expect of their libc: asserts, seeds, a stack, streams, sleep, jumps, last words. */
#include <assert.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mix.h"

static void init(mix_value env) {
    (void)env;
    srand((unsigned)time(NULL));
}

static void resume(const unsigned char seed[MIX_SEED_SIZE]) {
    unsigned number;
    memcpy(&number, seed, sizeof number);
    srand(number);
}

static mix_value draw(mix_value params) {
    (void)params;
    return mix_int(rand());
}

static mix_value checked(mix_value params) {
    int64_t number = mix_as_int(params, 0);
    assert(number != 13 && "thirteen is not served");
    return mix_int(number);
}

static mix_value gives_up(mix_value params) {
    (void)params;
    printf("not said to the end");
    fflush(stdout);
    fprintf(stderr, "cannot go on: %d\n", 42);
    abort();
}

static mix_value streams(mix_value params) {
    (void)params;
    struct stat found;
    bool good = getchar() == EOF && feof(stdin) && fstat(1, &found) == 0 && S_ISCHR(found.st_mode) && isatty(2);
    return mix_bool(good && sched_yield() == 0 && clock() != (clock_t)-1 && signal(SIGINT, SIG_IGN) != SIG_ERR);
}

static mix_value sleeps(mix_value params) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    usleep((useconds_t)(1000 * mix_as_int(params, 0)));
    clock_gettime(CLOCK_MONOTONIC, &after);
    return mix_number((double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec));
}

static jmp_buf place;

static int leave_from(int depth, int with) {
    if (depth == 0) longjmp(place, with);
    return leave_from(depth - 1, with) + 1;
}

/* How often it was left, each time from another depth. */
static mix_value jumps(mix_value params) {
    volatile sig_atomic_t times = 0;
    int left = setjmp(place);
    if (left) times++;
    if (times < (int)mix_as_int(params, 0)) return mix_int(leave_from(times % 50, times + 1));
    return mix_int(times);
}

static int64_t deep(volatile char *above, int64_t left) {
    volatile char room[1024];
    room[0] = above ? above[0] : 1;
    return left == 0 ? room[0] : deep(room, left - 1) + room[0];
}

static mix_value recurses(mix_value params) { return mix_int(deep(NULL, mix_as_int(params, 0))); }

MIX_INIT(init)
MIX_RESUME(resume)
MIX_ENTRY("draw", draw)
MIX_ENTRY("checked", checked)
MIX_ENTRY("gives_up", gives_up)
MIX_ENTRY("streams", streams)
MIX_ENTRY("sleeps", sleeps)
MIX_ENTRY("jumps", jumps)
MIX_ENTRY("recurses", recurses)
