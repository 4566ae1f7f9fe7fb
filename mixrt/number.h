/* Numbers as text, and back: the shortest decimal that reads back as the same double, and the double nearest to a decimal. */
#ifndef MIXRT_NUMBER_H
#define MIXRT_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NUMBER_TEXT 32 /* bytes that are always enough */

/* Bytes written to `to`. */
size_t number_of_int(int64_t number, char *to);
/* As JavaScript writes it: 0.1, 1e+21, 123 for 123.0, NaN, Infinity. */
size_t number_of_double(double number, char *to);

/* Reads an optional sign, digits with an optional point, an optional exponent; all of the text or nothing. An int if it has neither
 * point nor exponent and fits. */
enum number_form { NO_NUMBER, IS_INT, IS_DOUBLE };
enum number_form number_parse(const char *text, size_t size, int64_t *whole, double *number);

#endif
