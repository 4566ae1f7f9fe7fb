/* The machine as a program of its own, for its tests: commands on stdin, events on stdout, each after its size in bytes. */
#include <stdint.h>
#include <stdio.h>

#include "machine.h"

int main(void)
{
    uint32_t size;
    while (fread(&size, 4, 1, stdin) == 1) {
        char *room = machine_room(size);
        if (room == NULL || fread(room, 1, size, stdin) != size)
            return 1;
        size_t answered;
        const char *answer = machine_step(room, size, &answered);
        uint32_t count = (uint32_t)answered;
        if (fwrite(&count, 4, 1, stdout) != 1 || fwrite(answer, 1, count, stdout) != count || fflush(stdout) != 0)
            return 1;
    }
    return 0;
}
