/* jump.c: the exception that longjmp throws, which libc and the compiler leave to the program. Guests without setjmp have
 * none: the linker leaves it out. */
__asm__(".globl __c_longjmp\n"
        ".tagtype __c_longjmp i32\n"
        "__c_longjmp:\n");
