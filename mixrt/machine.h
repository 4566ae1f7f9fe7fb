/* The machine as the host sees it: one function, which takes a command and answers an event, both in words.
 *
 *     STEP budget                          go on
 *     LOAD bytes of a container            DONE, or REFUSED
 *     INIT budget                          begin the function that runs at init
 *     ENTER budget function seed arguments begin a function, with 2 words for random numbers and a codec array of arguments
 *     ANSWER budget call value             the answer of an FFI, in codec words
 *     FAIL budget call value               what the FFI raises
 *     LIMITS bytes registers               of all memory, and of the stack of each coroutine; before LOAD
 *     STATS                                DONE, then bytes used, collections, major ones, objects made, each 2 words
 *     COLLECT                              DONE; the heap is as small as it gets
 *     CODEC value                          DONE and the value in words, or REFUSED
 *     TEST stress first last               a collection after each allocation; those from first up to last fail
 */
#ifndef MIXRT_MACHINE_H
#define MIXRT_MACHINE_H

#include <stddef.h>
#include <stdint.h>

enum command { STEP, LOAD, INIT, ENTER, ANSWER, FAIL, LIMITS, STATS, COLLECT, CODEC, TEST };

/* Room for a command of so many bytes, until the next call; NULL if there is none. */
char *machine_room(size_t size);
/* Does a command, and answers the event's words, which stay until the next call. */
const char *machine_step(const char *words, size_t size, size_t *answered);

#endif
